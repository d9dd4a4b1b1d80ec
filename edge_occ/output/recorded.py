"""Verdicts of a recorded run: the lines that ``edge-occ run --json`` printed, read again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from edge_occ.bundle.conformal import Verdict
from edge_occ.common.errors import InputError
from edge_occ.mqtt.payloads import Score

_FAULT = '"schema": "edge-occ/fault/1"'


@dataclass(frozen=True)
class RecordedRun:
    """The scored frames of one camera, in the order of the lines.

    Attributes:
        verdicts: on the frames.
        captured: time of each, seconds since 1970.
        faults: number of frames without a score.
    """

    verdicts: list[Verdict]
    captured: list[float]
    faults: int


def read_run(path: Path) -> RecordedRun:
    """Read the lines of a run.

    Raises:
        InputError: the file cannot be read, a line is no line of a run, there is no score, or there are several
            cameras.
    """
    verdicts, captured, cameras, faults = [], [], set(), 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if _FAULT.encode() in line:
                    faults += 1
                    continue
                score = _score(line, f"line {number} of {path}")
                cameras.add(score.camera)
                verdicts.append(Verdict(score.score, score.p_value, score.threshold, bool(score.anomalous)))
                captured.append(score.captured_at.timestamp())
    except OSError as error:
        raise InputError(f"lines of edge-occ run --json in {path}", str(error.strerror), "check the path") from error
    if not verdicts:
        raise InputError(f"scores of good parts in {path}", f"none; {faults} faults", "record a run on good parts")
    if len(cameras) > 1:
        raise InputError(f"lines of one camera in {path}", ", ".join(sorted(cameras)), "keep the lines of one")
    return RecordedRun(verdicts, captured, faults)


def _score(line: bytes, where: str) -> Score:
    try:
        return Score.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise InputError(
            f"a line of edge-occ run --json in {where}",
            f"{place}: {first['msg']}" if place else first["msg"],
            "record good parts: edge-occ run --bundle part.occ --camera 0 --json > good.jsonl",
        ) from error

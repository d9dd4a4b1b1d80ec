"""``edge-occ demo``: the whole workflow on real images.

Each step runs the command that a user would type, as a separate process; the figures at the end come from the MQTT
messages that a subscriber received.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.common.errors import BundleRefused, UserError
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from trainer.data.solar_cells import LICENCE, SolarCells, prepare_solar_cells
from trainer.evaluation.detection import detect, table_lines
from trainer.own_files import remove_own, require_own_page
from trainer.report.demo import DemoResult, facts_of, image_scores, write_page
from trainer.review.stored_features import features_path

_PORT = 1883
_TOPICS, _DEVICE = "edge-occ-demo", "line"
_FROM_SCRATCH = ("--preset", "quick", "--set", "optimiser.steps=240")

_MESSAGES, _HEATMAPS = re.compile(r"(scores|events|status)\.jsonl"), re.compile(r"\d{6,}(-[\dT.]+Z)?\.jpg")
"""Names of the files that the subscriber writes."""


def run_demo(folder: Path, fps: float, *, from_scratch: bool = False) -> None:
    """Train, inspect a stream, collect the messages, compare them with the labels and write a report.

    Args:
        folder: output folder; a second run reuses its images and bundle.
        fps: pictures per second on the simulated line.
        from_scratch: train an encoder from scratch with CutPaste, for some minutes, instead of the preset ``auto``.

    Raises:
        UserError: a step failed; its own message is printed above.
    """
    page = folder / "report" / "index.html"
    require_own_page(page, "--folder")
    _title("1/4  Prepare real images: solar cells under electroluminescence")
    _print(LICENCE)
    cells = prepare_solar_cells(folder / "cells")
    good = sum(not defective for defective in cells.defective.values())
    training = len(list(cells.train.iterdir()))
    _print(
        f"{training} good cells for training; {good} good and {len(cells.defective) - good} defective cells for testing"
    )

    _title("2/4  Train on the good cells")
    name = "solar-cells-from-scratch.occ" if from_scratch else "solar-cells.occ"
    bundle = _bundle(folder / name, cells, _FROM_SCRATCH if from_scratch else ("--preset", "auto"))
    _print(guarantee(bundle.manifest.calibration))

    _title("3/4  Inspect the test cells as a stream, publish over MQTT, and subscribe")
    messages = folder / "messages"
    result = _inspect(folder / name, cells, fps, messages)
    if len(result.scores) != len(cells.defective):
        arrived = f"{len(result.scores)} of {len(cells.defective)} scores arrived"
        _print(f"{arrived}: a busy machine; once more, at half the speed")
        result = _inspect(folder / name, cells, fps / 2, messages)
    if len(result.scores) != len(cells.defective):
        raise UserError(
            f"a score message for each of the {len(cells.defective)} cells",
            f"{len(result.scores)}",
            f"run the demo again when the machine has less to do, or with --fps {fps / 4:g}",
        )

    _title("4/4  Compare the MQTT messages with the labels")
    detections = detect(image_scores(result, cells, bundle), bundle.manifest.calibration)
    for line in table_lines(detections):
        _print(line)
    facts = facts_of(result, cells, bundle)
    write_page(page, facts, detections, result, cells, bundle, messages / "heatmaps" / _DEVICE)
    pages = [("Report", str(page))]
    if features_path(folder / name).is_file():  # a bundle of an earlier demo has none
        review = folder / "review.html"
        _edge_occ("review", str(folder / name), "--out", str(review))
        pages.append(("Odd good cells", str(review)))
    width = max(len(label) for label, _ in facts)
    for label, value in (*facts, *pages):
        sys.stdout.write(f"  {label:<{width}}  {value}\n")


def _inspect(bundle: Path, cells: SolarCells, fps: float, messages: Path) -> DemoResult:
    """Inspect the stream at ``fps`` pictures a second; return what a subscriber received and saved in ``messages``."""
    remove_own(messages / "heatmaps" / _DEVICE, _HEATMAPS)
    remove_own(messages / "heatmaps", _HEATMAPS)
    remove_own(messages, _MESSAGES)
    with _broker() as url, _subscriber(url, messages):
        names = ("--set", f"mqtt.prefix={_TOPICS}", "--set", f"mqtt.device={_DEVICE}")
        _edge_occ("run", "--bundle", str(bundle), "--source", f"{cells.stream}?fps={fps:g}", "--broker", url, *names)
    return _read(messages / "scores.jsonl")


def _bundle(path: Path, cells: SolarCells, settings: Sequence[str]) -> Bundle:
    """Read the bundle of an earlier run, or train a new one."""
    try:
        if path.exists():
            bundle = read_bundle(path)
            _print(f"reusing {path}, trained in {bundle.manifest.training.seconds:.0f} s; delete it to train again")
            return bundle
    except BundleRefused as error:
        _print(f"{path} cannot be used ({error.found}): training again")
    _edge_occ("train", "--data", str(cells.train), *settings, "--out", str(path))
    return read_bundle(path)


@contextmanager
def _broker() -> Iterator[str]:
    """Use the broker on this machine, or start an embedded one."""
    running = broker_answers("127.0.0.1", _PORT)
    with nullcontext() if running else EmbeddedBroker(_PORT):
        _print(f"broker: {'already running' if running else 'amqtt, started for the demo'}, localhost:{_PORT}")
        yield f"mqtt://127.0.0.1:{_PORT}"


@contextmanager
def _subscriber(url: str, save: Path) -> Iterator[None]:
    """Run a subscriber in a second process, which ends when the inspector publishes that it is offline."""
    command = _command("watch", "--broker", url, "--prefix", _TOPICS, "--save", str(save), "--until-offline")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            ready = process.stderr.readline() if process.stderr else ""
            if not ready.startswith("watching"):
                raise UserError("a running subscriber", ready.strip() or "no output", "see the messages above")
            _print(f"$ {_shown(command)}   (in the background)")
            yield
            process.wait(timeout=30)
        finally:
            process.terminate()


def _edge_occ(*arguments: str) -> None:
    command = _command(*arguments)
    _print(f"$ {_shown(command)}")
    code = subprocess.run(command, check=False).returncode
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise UserError(f"'edge-occ {arguments[0]}' to succeed", f"exit status {code}", "see its message above")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "edge_occ", *arguments]


def _shown(command: list[str]) -> str:
    return shlex.join(["edge-occ", *command[3:]])


def _read(path: Path) -> DemoResult:
    scores, anomalous, frame, latency, captured = {}, {}, {}, [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        payload: dict[str, Any] = json.loads(line)["payload"]
        name = payload["name"]
        scores[name] = payload["score"]
        anomalous[name] = payload["verdict"] == "anomalous"
        frame[name] = payload["frame"]
        latency.append(payload["latency_ms"])
        captured.append(datetime.fromisoformat(payload["captured_at"].replace("Z", "+00:00")))
    seconds = (max(captured) - min(captured)).total_seconds()
    return DemoResult(scores, anomalous, frame, latency, (len(captured) - 1) / seconds)


def _title(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def _print(text: str) -> None:
    sys.stdout.write(f"  {text}\n")
    sys.stdout.flush()

"""Recording of received messages in a folder: JSON lines and JPEG files."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edge_occ.common.errors import InputError
from edge_occ.common.file_name import file_name
from edge_occ.mqtt.payloads import HeatmapInfo
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.topics import EVENT, SCORE, STATUS

_FILES = {SCORE: "scores.jsonl", EVENT: "events.jsonl", STATUS: "status.jsonl"}


class MessageRecorder:
    """Records messages; a context manager.

    Scores, events and states are appended to ``scores.jsonl``, ``events.jsonl`` and ``status.jsonl``, one message a
    line; each heatmap that was not retained is written to ``heatmaps/[<place>/]<device>[/<camera>]/<frame>.jpg``, with
    six digits.  The time of capture follows the number if that file exists, as frame numbers restart with each run.

    Args:
        folder: created if it does not exist.

    Raises:
        InputError: the folder cannot be written to, on entering or later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> MessageRecorder:
        try:
            (self._folder / "heatmaps").mkdir(parents=True, exist_ok=True)
            for kind, name in _FILES.items():
                file = (self._folder / name).open("a", encoding="utf-8", buffering=1)
                self._files[kind] = self._stack.enter_context(file)
        except OSError as error:
            self._stack.close()
            raise self._error(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, received: Received) -> None:
        """Record one message, except stats and retained heatmaps."""
        try:
            if received.kind in self._files:
                self._files[received.kind].write(received.to_json() + "\n")
            elif isinstance(received.message, HeatmapInfo) and received.jpeg is not None and not received.retained:
                self._write_heatmap(received, received.message, received.jpeg)
        except OSError as error:
            raise self._error(error) from error

    def _write_heatmap(self, received: Received, info: HeatmapInfo, jpeg: bytes) -> None:
        place = received.place.split("/") if received.place else []
        levels = [level for level in (*place, received.device, received.camera) if level is not None]
        folder = self._folder.joinpath("heatmaps", *map(file_name, levels))
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with (folder / f"{info.frame:06d}.jpg").open("xb") as file:
                file.write(jpeg)
        except FileExistsError:
            (folder / f"{info.frame:06d}-{info.captured_at:%Y%m%dT%H%M%S.%fZ}.jpg").write_bytes(jpeg)

    def _error(self, error: OSError) -> InputError:
        found = error.strerror or str(error)
        return InputError(f"a writable folder at {self._folder}", found, "use another folder with --save")

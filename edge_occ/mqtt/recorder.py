"""Writes what a subscriber hears into a folder: JSON lines and JPEG files."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TextIO

from edge_occ.errors import InputError
from edge_occ.mqtt.messages import HeatmapInfo
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.topics import EVENT, SCORE, STATUS

_FILES = {SCORE: "scores.jsonl", EVENT: "events.jsonl", STATUS: "status.jsonl"}


class Recorder:
    """Keeps what is worth keeping; a context manager.

    Scores, events and states are appended to ``scores.jsonl``, ``events.jsonl`` and ``status.jsonl``, one message a
    line; each heatmap that arrives live is written to ``heatmaps/<frame, 6 digits>.jpg``, or, if a picture of an
    earlier run has that name, to ``<frame>-2.jpg`` and so on.

    File names come from the frame's number alone, never from text off the network.

    Args:
        folder: made if it is not there.

    Raises:
        InputError: the folder cannot be written to, on entering or later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Recorder:
        try:
            (self._folder / "heatmaps").mkdir(parents=True, exist_ok=True)
            for kind, name in _FILES.items():
                file = (self._folder / name).open("a", encoding="utf-8", buffering=1)
                self._files[kind] = self._stack.enter_context(file)
        except OSError as error:
            self._stack.close()
            raise self._refuse(error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def write(self, received: Received) -> None:
        """Keep one message; statistics and retained heatmaps, which tell of the past, are not kept."""
        try:
            if received.kind in self._files:
                self._files[received.kind].write(received.to_json() + "\n")
            elif isinstance(received.message, HeatmapInfo) and received.jpeg is not None and not received.retained:
                self._keep_picture(received.message.frame, received.jpeg)
        except OSError as error:
            raise self._refuse(error) from error

    def _keep_picture(self, frame: int, jpeg: bytes) -> None:
        for which in count(1):
            name = f"{frame:06d}.jpg" if which == 1 else f"{frame:06d}-{which}.jpg"
            with suppress(FileExistsError), (self._folder / "heatmaps" / name).open("xb") as file:
                file.write(jpeg)
                return

    def _refuse(self, error: OSError) -> InputError:
        found = error.strerror or str(error)
        return InputError(f"a folder to write to at {self._folder}", found, "use another folder with --save")

"""``edge-occ run`` with seams for faults that a machine without cameras cannot have; ``benchmarks/soak.py`` starts it.

    python benchmarks/soak_child.py FOLDER run --source ...

Everything is the product but these: cameras ``/dev/video71`` and the like, which play pictures; the wall clock, which
can be stepped; and a log of the event messages that the inspection hands to MQTT.  Files in ``FOLDER`` control them:

===============  =====================================================================
``frames/``      pictures that the cameras play
``hang``         while it is there, a camera's read does not return
``gone``         while it is there, the camera is absent
``clock``        seconds by which the wall clock is wrong
``hang_seconds`` replaces the ten seconds after which a driver's call is given up
``events.log``   written: camera, id, phase and frame of each event message, a line each
===============  =====================================================================
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import edge_occ.common.clock
import edge_occ.mqtt.publisher
import edge_occ.sources.camera
import edge_occ.sources.files
import edge_occ.sources.hot_folder
import edge_occ.sources.opening
from edge_occ.__main__ import main
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.publisher import Publisher

DEVICE = "/dev/video71"
_PERIOD = 0.2
_CLOCKED = (
    edge_occ.common.clock,
    edge_occ.mqtt.publisher,
    edge_occ.sources.camera,
    edge_occ.sources.files,
    edge_occ.sources.hot_folder,
)


class PlayedCamera:
    """A capture that plays pictures with the noise of a sensor; it hangs or goes while the files say so."""

    _next = count()

    def __init__(self, folder: Path, pictures: list[np.ndarray]) -> None:
        self._folder, self._pictures = folder, pictures
        self._opened = not self._is("gone")

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """True while it was not closed and is not gone."""
        return self._opened and not self._is("gone")

    def read(self) -> tuple[bool, Any]:
        """Return the next picture, as late as a camera of five frames a second."""
        time.sleep(_PERIOD)
        while self._is("hang"):
            time.sleep(0.05)
        if not self.isOpened():
            return False, None
        index = next(self._next)
        noise = np.random.default_rng(index).integers(0, 3, self._pictures[0].shape, np.uint8)
        return True, cv2.add(self._pictures[index % len(self._pictures)], noise)

    def get(self, _prop: int, /) -> float:
        """Return 0: unknown."""
        return 0.0

    def set(self, _prop: int, _value: float, /) -> bool:
        """Take any value."""
        return True

    def release(self) -> None:
        """Close it."""
        self._opened = False

    def _is(self, name: str) -> bool:
        return (self._folder / name).exists()


def play_cameras(folder: Path) -> None:
    """Open pictures in place of V4L2 devices; any device but :data:`DEVICE` is absent."""
    pictures = [cv2.imread(str(path)) for path in sorted((folder / "frames").iterdir())]
    opening = edge_occ.sources.opening
    opened = opening.open_camera
    opening.open_camera = lambda device: PlayedCamera(folder, pictures) if device == DEVICE else opened(device)
    if (folder / "hang_seconds").exists():
        opening.HANG_SECONDS = float((folder / "hang_seconds").read_text())


def step_clock(file: Path) -> None:
    """Let a file say by how many seconds the wall clock is wrong; monotonic time goes on."""
    right: Callable[[], float] = time.time
    wrong = [0.0]

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:  # noqa: ANN401 - a datetime, not one of this class
            return datetime.fromtimestamp(right(), tz) + timedelta(seconds=wrong[0])

    def watch() -> None:
        while True:
            if file.exists() and (text := file.read_text()):
                wrong[0] = float(text)
            time.sleep(0.1)

    time.time = lambda: right() + wrong[0]
    for module in _CLOCKED:
        module.datetime = Stepped  # type: ignore[attr-defined]
    threading.Thread(target=watch, daemon=True).start()


def log_events(file: Path) -> None:
    """Write a line for every event message before it is handed to MQTT."""
    log = file.open("a", buffering=1)

    def logged(method: Callable[[Publisher, Inspection], None]) -> Callable[[Publisher, Inspection], None]:
        def call(self: Publisher, inspection: Inspection) -> None:
            if (change := inspection.event) is not None:
                camera = self._origin.camera
                log.write(f"{camera} {change.id} {change.phase.value} {inspection.frame.index}\n")
            method(self, inspection)

        return call

    for name in ("publish", "finish"):
        setattr(Publisher, name, logged(getattr(Publisher, name)))


if __name__ == "__main__":
    folder = Path(sys.argv.pop(1))
    play_cameras(folder)
    step_clock(folder / "clock")
    log_events(folder / "events.log")
    main()

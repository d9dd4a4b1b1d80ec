"""Training pictures from the source that will inspect: the same camera, decoder and size, saved without loss."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from edge_occ.bundle.provenance import Exposure
from edge_occ.common.errors import InputError
from edge_occ.common.files import atomic_write
from edge_occ.common.progress import ProgressReport
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.inspection.guards import Guards, GuardsConfig, is_frame
from edge_occ.sources.faults import Fault, Reason, Unscored
from edge_occ.sources.frame import Frame, Source

ANY_PART = Exposure(mean=(16, 239), deviation=(8, 128), repeated_rows=1)
"""Exposure of pictures of any part, before anything is known about this one: frames with a mean below 4 or above 251
and a standard deviation below 2 are refused."""

_LINE_SECONDS = 10.0


@dataclass(frozen=True)
class Recording:
    """Result of a recording.

    Attributes:
        pictures: number of pictures written.
        refused: number of refused frames, by reason.
    """

    pictures: int
    refused: Mapping[str, int]


class PictureRecorder:
    """Writes frames as PNG files, named by the time of capture and the number of the frame.

    Args:
        folder: is made if it does not exist; files in it are never overwritten.
        every: seconds of capture between two pictures at least.
        guards: settings of the guards, which refuse frames.
        notify: called with lines for people.
    """

    def __init__(self, folder: Path, every: float, guards: GuardsConfig, notify: Callable[[str], None]) -> None:
        self._folder, self._every, self._notify = folder, every, notify
        self._guards = Guards(guards, ANY_PART)
        self._refusals = RateLimitedLog(notify)
        self._refused: Counter[str] = Counter()
        self._pictures, self._due = 0, float("-inf")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    @property
    def recording(self) -> Recording:
        """The result so far."""
        return Recording(self._pictures, dict(self._refused))

    def run(self, source: Source, pictures: int | None = None) -> None:
        """Record until the source ends or is closed, or ``pictures`` are written.

        Args:
            source: entered already.
            pictures: at least 1, or ``None``.

        Raises:
            InputError: a picture cannot be written, or no frame was worth keeping.
            SourceLost: the source is gone for good.
        """
        with ProgressReport("recording", pictures or 0) as progress:
            notified_at = time.monotonic()
            for frame in source:
                if not self._take(frame):
                    continue
                if pictures is not None:
                    progress.advance()
                elif time.monotonic() - notified_at >= _LINE_SECONDS:
                    notified_at = time.monotonic()
                    self._notify(f"{self._pictures} pictures")
                if self._pictures == pictures:
                    break
        if self._refused and not self._pictures:
            counts = ", ".join(f"{count} {reason}" for reason, count in self._refused.items())
            raise InputError("frames that show a part", f"none: {counts}", "check lamp, lens and camera")

    def _take(self, frame: Frame | Fault) -> bool:
        """Write a frame, if it is due and no guard finds a fault; gives whether it was written."""
        if isinstance(frame, Fault):
            self._refuse(frame.cause, frame.index)
            return False
        # Every frame is checked, as only a row of equal ones is frozen.
        fault = self._guards.check(frame) if is_frame(frame.image) else Unscored(Reason.FRAME, "no picture")
        if fault is not None:
            self._refuse(fault, frame.index)
            return False
        if frame.captured_monotonic < self._due:
            return False
        self._due = frame.captured_monotonic + self._every
        self._write(frame)
        self._pictures += 1
        return True

    def _refuse(self, fault: Unscored, index: int) -> None:
        self._refused[fault.reason.value] += 1
        self._refusals(fault.reason.value, f"refused  frame {index}  {fault.reason.value}: {fault.detail}")

    def _write(self, frame: Frame) -> None:
        done, data = cv2.imencode(".png", frame.image)
        if not done:
            raise RuntimeError(f"OpenCV does not encode a frame of {frame.image.shape} as PNG")
        name = f"{frame.captured_at:%Y%m%dT%H%M%S.%f}Z-{frame.index:06}"
        path = self._folder / f"{name}.png"
        again = 1
        while path.exists():  # the clock was set back
            again += 1
            path = self._folder / f"{name}-{again}.png"
        try:
            with atomic_write(path) as file:
                file.write(data.tobytes())
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> InputError:
        found = f"{error.strerror}, after {self._pictures} pictures"
        expected = f"a folder {self._folder} that can be written"
        return InputError(expected, found, "make room, or name another with --out")

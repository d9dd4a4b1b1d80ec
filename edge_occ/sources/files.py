"""A source of the frames of a reel, which is a set of pictures or a video, lossless or in real time."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator
from datetime import datetime, timezone
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError, SourceLost
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.sources.faults import Fault, Unscored
from edge_occ.sources.frame import Frame
from edge_occ.sources.reader import ThreadedSource

logger = logging.getLogger(__name__)


class Reel(Protocol):
    """Pictures in order; every iteration starts at the first."""

    @property
    def rate(self) -> float | None:
        """Frames a second of the recording, if known."""

    @property
    def shortage(self) -> SourceLost | None:
        """Error for frames missing from the latest iteration, ``None`` if it was complete."""

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8] | Unscored]]:
        """Yield name and picture, decoded on demand, or the reason why it cannot be decoded."""


class FileSource(ThreadedSource):
    """A source of the frames of a reel.

    Args:
        reel: pictures or video.
        fps: frames a second at most; without it a lossless source is as fast as its reader, a live one has the reel's
            rate.
        loop: start again at the end, endlessly.
        live: play in real time and keep only the latest frame, like a camera.

    Raises:
        InputError: live, with neither ``fps`` nor a rate of the reel.
        SourceLost: on iterating, at the end: frames were missing; a loop only warns.
    """

    def __init__(self, reel: Reel, *, fps: float | None = None, loop: bool = False, live: bool = False) -> None:
        super().__init__(live=live)
        if live and fps is None:
            fps = reel.rate
            if fps is None:
                raise InputError("a frame rate to play at", "live=1 without fps", "add &fps=10 to the source")
        self._reel, self._loop = reel, loop
        self._period = 0.0 if fps is None else 1 / fps
        self._warn = RateLimitedLog(logger.warning, max_messages=1, period=3600)

    def _frames(self) -> Generator[Frame | Fault, None, None]:
        pictures = iter(self._reel)
        index, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            # The time of capture is before decoding, so that latencies include it.
            captured_at, captured_monotonic = datetime.now(timezone.utc), time.monotonic()
            picture = next(pictures, None)
            if picture is not None:
                name, content = picture
                if isinstance(content, Unscored):
                    yield Fault(index, captured_at, content, name)
                else:
                    yield Frame(index, captured_at, captured_monotonic, content, name, ready_monotonic=time.monotonic())
                index += 1
                due = max(due + self._period, time.monotonic())  # no burst after a stall
            elif self._loop:
                self._warn_of_shortage()
                pictures = iter(self._reel)
            elif self._reel.shortage is not None:
                raise self._reel.shortage
            else:
                return

    def _warn_of_shortage(self) -> None:
        """Log missing frames; a loop continues without them."""
        if self._reel.shortage is not None:
            self._warn("shortage", str(self._reel.shortage))

"""The seam of sources: a frame, and what yields frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_occ.sources.faults import Fault


@dataclass(frozen=True)
class Frame:
    """One picture with its place in the source.

    Attributes:
        index: number of the frame in its source, from 0; dropped and unreadable frames leave gaps.
        captured_at: time of capture, UTC.
        captured_monotonic: the same time on :func:`time.monotonic`, in seconds, for latencies.
        image: uint8 ``[height, width, 3]``, BGR.
        name: file name, or ``None`` for a camera.
        dropped: frames of its source that were dropped before it.
        ready_monotonic: time at which it was read and decoded; ``None``: at the time of capture, as of a camera, whose
            frames OpenCV hands over decoded.
    """

    index: int
    captured_at: datetime
    captured_monotonic: float
    image: NDArray[np.uint8]
    name: str | None = None
    dropped: int = 0
    ready_monotonic: float | None = None


class Source(Protocol):
    """Frames in order; a context manager that owns its thread and its device.

    Iteration ends when the source is exhausted or closed.  A live source (camera) keeps only the latest frame and
    counts those it drops; a lossless one (files) waits for its reader and drops nothing.  A picture that cannot be
    read yields a :class:`~edge_occ.sources.faults.Fault` in its place.  A source is used once.
    """

    @property
    def live(self) -> bool:
        """True if frames are dropped while the reader is busy."""

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame | Fault]:
        """Iterate over the frames, inside the ``with`` block.

        Raises:
            RuntimeError: outside the ``with`` block.
            UserError: the source failed; raised after the last frame.
        """

    def poll(self) -> Frame | Fault | None:
        """Return the next frame if there is one now, else ``None``; for who serves several sources.

        Raises:
            RuntimeError, UserError: as iterating does.
        """

    @property
    def ended(self) -> bool:
        """True once there will be no frame any more."""

    def notify(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever there may be a new frame, or the end; it must return at once.

        It is called from other threads, also without a reason.  To be set before the ``with`` block.
        """

    def close(self) -> None:
        """End the iteration, from any thread, any number of times; leaving the ``with`` block releases the device."""

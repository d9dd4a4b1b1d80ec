"""What a source of frames is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_occ.sources.faults import Fault


@dataclass(frozen=True)
class Frame:
    """One picture and where it came from.

    Attributes:
        index: number of the frame in its source, from 0; dropped and unreadable frames leave gaps.
        captured_at: moment of capture, UTC.
        captured_monotonic: the same moment on :func:`time.monotonic`, in seconds; latencies are measured with it.
        image: uint8 ``[height, width, 3]``, BGR.
        name: file name, or ``None`` for a camera.
    """

    index: int
    captured_at: datetime
    captured_monotonic: float
    image: NDArray[np.uint8]
    name: str | None = None


class Source(Protocol):
    """Frames in order; a context manager that owns its thread and its device.

    Iteration ends when the source is exhausted or closed.  A live source (camera) keeps only the latest frame and
    counts the ones it drops; a lossless one (files) waits for its reader and drops nothing.  A picture that cannot be
    read is a :class:`~edge_occ.sources.faults.Fault` in its place.
    """

    @property
    def live(self) -> bool:
        """True if frames that nobody waited for are dropped."""

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""

    def __enter__(self) -> Source: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[Frame | Fault]: ...

    def close(self) -> None:
        """End the iteration, from any thread; the ``with`` block then ends the rest."""

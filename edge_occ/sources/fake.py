"""A source that plays a script: frames, faults, pauses and drops, without thread or device."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from threading import TIMEOUT_MAX, Event, Timer
from types import TracebackType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import UserError
from edge_occ.sources.faults import Fault, Unscored
from edge_occ.sources.frame import Frame


@dataclass(frozen=True)
class Pause:
    """Time without a frame.

    Attributes:
        seconds: length; :meth:`FakeSource.close` ends it early.
    """

    seconds: float


@dataclass(frozen=True)
class Drop:
    """Frames that a live source drops.

    Attributes:
        count: number of frames.
    """

    count: int = 1


Step: TypeAlias = "NDArray[np.uint8] | Unscored | Pause | Drop | UserError"
"""A frame's image, the cause of a fault, a pause, dropped frames, or an error that ends the source."""


class FakeSource:
    """A :class:`~edge_occ.sources.frame.Source` for tests; each step of the script is played when it is asked for.

    Args:
        script: steps in order.
        live: value of :attr:`live`.
    """

    def __init__(self, script: Iterable[Step], *, live: bool = False) -> None:
        self._script, self._live = iter(script), live
        self._index = self._dropped = 0
        self._resumes = 0.0
        self._entered = self._ended = False
        self._closed = Event()
        self._callback: Callable[[], None] = lambda: None
        self._timer: Timer | None = None

    @property
    def live(self) -> bool:
        """True if frames are dropped while the reader is busy."""
        return self._live

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self._dropped

    def __enter__(self) -> FakeSource:
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def __iter__(self) -> Iterator[Frame | Fault]:
        """Iterate over the frames and faults of the script.

        Raises:
            RuntimeError: outside the ``with`` block.
            UserError: a step of the script.
        """
        self._require_entered()
        return iter(self._next, None)

    def poll(self) -> Frame | Fault | None:
        """Return the next frame or fault of the script, ``None`` during a pause and at the end.

        Raises:
            RuntimeError, UserError: as iterating does.
        """
        self._require_entered()
        if self._closed.is_set() or time.monotonic() < self._resumes:
            return None
        for step in self._script:
            if isinstance(step, Pause):
                self._pause(step.seconds)
                return None
            if isinstance(step, Drop):
                self._index += step.count
                self._dropped += step.count
            elif isinstance(step, UserError):
                self._ended = True
                raise step
            else:
                self._index += 1
                return _made(step, self._index - 1, self._dropped)
        self._ended = True
        return None

    @property
    def ended(self) -> bool:
        """True once the script is played or the source is closed."""
        return self._ended or self._closed.is_set()

    def notify(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` at the end of every pause, and when the source is closed."""
        self._callback = callback

    def close(self) -> None:
        """End the iteration, from any thread, any number of times."""
        self._closed.set()
        self._callback()

    def _next(self) -> Frame | Fault | None:
        while (item := self.poll()) is None and not self.ended:
            self._closed.wait(min(max(self._resumes - time.monotonic(), 0.0), TIMEOUT_MAX))
        return item

    def _pause(self, seconds: float) -> None:
        self._resumes = time.monotonic() + seconds
        if seconds <= TIMEOUT_MAX:
            self._timer = Timer(seconds, self._callback)
            self._timer.start()

    def _require_entered(self) -> None:
        if not self._entered:
            raise RuntimeError("use a source inside its `with` block")


def _made(step: NDArray[np.uint8] | Unscored, index: int, dropped: int) -> Frame | Fault:
    if isinstance(step, Unscored):
        return Fault(index, datetime.now(timezone.utc), step)
    return Frame(index, datetime.now(timezone.utc), time.monotonic(), step, dropped=dropped)

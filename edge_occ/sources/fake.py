"""A source that plays a script: frames, faults, pauses and drops, without thread or device."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from threading import TIMEOUT_MAX, Event
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
        self._script, self._live = script, live
        self._dropped = 0
        self._entered = False
        self._closed = Event()

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

    def __iter__(self) -> Iterator[Frame | Fault]:
        """Iterate over the frames and faults of the script.

        Raises:
            RuntimeError: outside the ``with`` block.
            UserError: a step of the script.
        """
        if not self._entered:
            raise RuntimeError("iterate over a source inside its `with` block")
        return self._play()

    def close(self) -> None:
        """End the iteration, from any thread, any number of times."""
        self._closed.set()

    def _play(self) -> Iterator[Frame | Fault]:
        index = 0
        for step in self._script:
            if self._closed.is_set():
                return
            if isinstance(step, Pause):
                self._closed.wait(min(step.seconds, TIMEOUT_MAX))
            elif isinstance(step, Drop):
                index += step.count
                self._dropped += step.count
            elif isinstance(step, UserError):
                raise step
            else:
                yield _made(step, index)
                index += 1


def _made(step: NDArray[np.uint8] | Unscored, index: int) -> Frame | Fault:
    if isinstance(step, Unscored):
        return Fault(index, datetime.now(timezone.utc), step)
    return Frame(index, datetime.now(timezone.utc), time.monotonic(), step)

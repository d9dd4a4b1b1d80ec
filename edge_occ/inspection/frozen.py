"""Frames that a camera gives again: a sensor always has noise, so its driver repeats them, or hangs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_occ.sources.faults import Reason, Unscored

_EVERY = 16
"""Rows between those that are compared first, as frames mostly differ in these already."""


class FrozenGuard:
    """Finds frames that a camera gives again.

    A frame that was scored already says nothing new, and would count twice in events and drift.  A driver may repeat
    one now and then; a camera that does nothing else is frozen.

    Args:
        frames: a camera is frozen if more than so many frames in a row are equal.
        seconds: and if it has been so for longer than this, from the first of them.
    """

    def __init__(self, frames: int, seconds: float) -> None:
        self._frames, self._seconds = frames, seconds
        self._last: NDArray[np.uint8] | None = None
        self._since, self._equal = 0.0, 0

    def go_on_from(self, earlier: FrozenGuard) -> None:
        """Take the last frame, and the length of its run, from the guard that this one replaces."""
        self._last, self._since, self._equal = earlier._last, earlier._since, earlier._equal

    def check(self, image: NDArray[np.uint8], at: float) -> Unscored | None:
        """Take the next frame, of moment ``at`` in seconds."""
        if self._last is None or not _equal(image, self._last):
            self._last, self._since, self._equal = image, at, 1
            return None
        self._equal += 1
        lasted = at - self._since
        if self._equal <= self._frames or lasted <= self._seconds:
            return Unscored(Reason.REPEATED, "the same pixels as the frame before")
        return Unscored(Reason.FROZEN, f"{self._equal} frames in a row have the same pixels, for {lasted:.1f} s")


def _equal(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return np.array_equal(image[::_EVERY], other[::_EVERY]) and np.array_equal(image, other)

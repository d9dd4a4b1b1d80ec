"""A camera that gives the same frame again and again: a sensor always has noise, so its driver hangs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_occ.sources.faults import Reason, Unscored

_EVERY = 16
"""Rows between those that are compared first, as frames mostly differ in these already."""


class FrozenGuard:
    """Finds a camera that gives the same frame again and again.

    Args:
        frames: more than so many equal frames in a row.
        seconds: for more than so long, from the first of them.
    """

    def __init__(self, frames: int, seconds: float) -> None:
        self._frames, self._seconds = frames, seconds
        self._last: NDArray[np.uint8] | None = None
        self._since, self._equal = 0.0, 0

    def check(self, image: NDArray[np.uint8], at: float) -> Unscored | None:
        """Take the next frame, of moment ``at`` in seconds."""
        if self._last is None or not _equal(image, self._last):
            self._last, self._since, self._equal = image, at, 1
            return None
        self._equal += 1
        lasted = at - self._since
        if self._equal <= self._frames or lasted <= self._seconds:
            return None
        return Unscored(Reason.FROZEN, f"{self._equal} frames in a row have the same pixels, for {lasted:.1f} s")


def _equal(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    return np.array_equal(image[::_EVERY], other[::_EVERY]) and np.array_equal(image, other)

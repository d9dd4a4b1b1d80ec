"""Pictures of a turned part before a plain ground, drawn with antialiasing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

GROUND, FINE = 200, 3

PIN = ((-60, 4), (-60, 18), (-45, 18), (-40, 8), (40, 8), (60, 1))
"""A pin: pairs of a position along its axis and half the width there, in pixels.  Its head is at the left."""

ROD = ((-60, 10), (60, 10))
"""A rod, whose ends are alike."""


def picture(
    outline=PIN,
    *,
    degrees: float = 0,
    centre: tuple[float, float] = (128, 128),
    shape: tuple[int, int] = (256, 256),
    scale: float = 1,
    ground: int = GROUND,
) -> NDArray[np.uint8]:
    """Draw a part.

    Args:
        outline: of the part, along its axis.
        degrees: from the frame's x to the axis, clockwise as y points down.
        centre: x and y of the outline's origin.
        shape: height and width of the picture.
        scale: of the part.
        ground: grey level around it.

    Returns:
        uint8 ``[h, w, 3]``: the mean of 3x3 samples a pixel.  The part is dark, with stripes and one red half.
    """
    rows, columns = (((np.arange(FINE * side) + 0.5) / FINE - 0.5).astype(np.float32) for side in shape)
    x, y = (columns[None] - centre[0]) / scale, (rows[:, None] - centre[1]) / scale
    cos, sin = np.float32(np.cos(np.radians(degrees))), np.float32(np.sin(np.radians(degrees)))
    u, v = cos * x + sin * y, cos * y - sin * x
    at, half = np.array(outline, dtype=float).T
    inside = (np.abs(v) <= np.interp(u, at, half)) & (u >= at[0]) & (u <= at[-1])
    stripes = 60 + 30 * np.sin(u / 4) + 20 * np.sin(v / 3)
    result = np.empty((*shape, 3), dtype=np.uint8)
    for channel, tint in enumerate((0, 0, 30)):
        fine = np.where(inside, stripes + tint * (v > 0), ground)
        means = fine.reshape(shape[0], FINE, shape[1], FINE).mean((1, 3))
        result[..., channel] = np.rint(means)
    return result


def together(*pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Several dark parts on the same ground."""
    result: NDArray[np.uint8] = np.minimum.reduce(pictures)
    return result

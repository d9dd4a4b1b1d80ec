"""A turned rectangle of a frame, and the way of its score map back into the frame.

OpenCV's ``warpAffine`` computes in fixed point before 5.0 and in floats since (opencv/opencv issue 27280), which the
scores would depend on.  Here positions and weights are integers: the same pixels on any processor, with any OpenCV.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.downscale import downscale

MAX_MAP_PIXELS = 1 << 22
"""Maximum number of pixels of a score map in the frame."""

_BITS = 24
_ONE = 1 << _BITS
"""One pixel, in the units of positions."""

_WEIGHT_BITS = 8
_WHOLE = 1 << _WEIGHT_BITS
"""The sum of the weights of two neighbours along one axis."""


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in a frame, in frame pixels; 0 is the centre of the first pixel.

    Attributes:
        x, y: centre.
        cos, sin: of the angle from the frame's x to the rectangle's.
        height, width: sides.
    """

    x: float
    y: float
    cos: float
    sin: float
    height: int
    width: int


def halved(frame: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Halve both axes of a frame: means of 2x2 pixels, rounded half up.

    Args:
        frame: uint8 ``[h, w, 3]``; rows and columns beyond a multiple of ``2**times`` are left out below and on the
            right, so that a pixel covers ``2**times`` pixels each way.
        times: how often, at least 0 and so that pixels are left.
    """
    rows, columns = frame.shape[0] >> times, frame.shape[1] >> times
    return downscale(frame[: rows << times, : columns << times], (rows, columns))


def cut_out(frame: NDArray[np.uint8], rectangle: Rectangle, factor: int = 1) -> NDArray[np.uint8]:
    """Cut a turned rectangle out of a frame by bilinear interpolation.

    Args:
        frame: uint8 ``[h, w, 3]``, ``factor`` times smaller than the one that the rectangle is in; outside it, its edge
            is repeated.
        rectangle: what is cut out.
        factor: by how much the frame has been halved.

    Returns:
        uint8 ``[rectangle.height // factor, rectangle.width // factor, 3]``.
    """
    height, width = rectangle.height // factor, rectangle.width // factor
    across, down = np.arange(1 - width, width, 2), np.arange(1 - height, height, 2)[:, None]
    # Steps of half a pixel from the centre.
    cos, sin = round(rectangle.cos * (_ONE // 2)), round(rectangle.sin * (_ONE // 2))
    x = round(((rectangle.x + 0.5) / factor - 0.5) * _ONE) + cos * across - sin * down
    y = round(((rectangle.y + 0.5) / factor - 0.5) * _ONE) + sin * across + cos * down
    left, top = int(x.min()) >> _BITS, int(y.min()) >> _BITS
    window = _window(frame, left, top, (int(x.max()) >> _BITS) + 2, (int(y.max()) >> _BITS) + 2)
    x = ((x - (left << _BITS)) >> (_BITS - _WEIGHT_BITS)).astype(np.int32)
    y = ((y - (top << _BITS)) >> (_BITS - _WEIGHT_BITS)).astype(np.int32)
    first = (((y >> _WEIGHT_BITS) * window.shape[1] + (x >> _WEIGHT_BITS)) * 3).astype(np.intp)
    x, y = x & (_WHOLE - 1), y & (_WHOLE - 1)
    both, below = x * y, 3 * window.shape[1]
    right, lower = (x << _WEIGHT_BITS) - both, (y << _WEIGHT_BITS) - both
    weights = {0: _WHOLE**2 - right - lower - both, 3: right, below: lower, below + 3: both}
    values, result = window.ravel(), np.empty((height, width, 3), dtype=np.uint8)
    for channel in range(3):
        total = np.full((height, width), _WHOLE**2 // 2, dtype=np.int32)
        for offset, weight in weights.items():
            total += values[offset + channel :].take(first) * weight
        result[..., channel] = total >> (2 * _WEIGHT_BITS)
    return result


def _window(frame: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
    """Return the pixels from left and top to before right and bottom, the frame's edge repeated outside it."""
    rows, columns = frame.shape[:2]
    down = slice(min(max(top, 0), rows - 1), min(max(bottom, 1), rows))
    across = slice(min(max(left, 0), columns - 1), min(max(right, 1), columns))
    sides = (max(-top, 0), max(bottom - rows, 0), max(-left, 0), max(right - columns, 0))
    return np.asarray(cv2.copyMakeBorder(frame[down, across], *sides, cv2.BORDER_REPLICATE), dtype=np.uint8)


def map_in_frame(
    score_map: NDArray[np.float32], rectangle: Rectangle, frame_shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Turn the score map of a rectangle back into its frame by bilinear interpolation.

    Args:
        score_map: float32 ``[rows, columns]``, stretched over the rectangle.
        rectangle: where it lies.
        frame_shape: ``(height, width, ...)`` of the frame.

    Returns:
        float32, stretched over the frame, 0 outside the rectangle: as fine as the score map and as the frame allow, in
        at most :data:`MAX_MAP_PIXELS`.
    """
    height, width = frame_shape[:2]
    rows, columns = score_map.shape
    step = 1  # frame pixels
    while 2 * step <= min(rectangle.height / rows, rectangle.width / columns) or (
        (height // step) * (width // step) > MAX_MAP_PIXELS
    ):
        step *= 2
    shape = max(1, height // step), max(1, width // step)
    result = np.zeros(shape, dtype=np.float32)
    x, y, window = _around(rectangle, (height, width), shape)
    if (rectangle.cos, rectangle.sin) == (1, 0):
        result[window] = _upright(score_map, rectangle, x[0], y[:, 0])
        return result
    cos, sin = np.float32(rectangle.cos), np.float32(rectangle.sin)
    u, v = cos * x + sin * y, cos * y - sin * x
    inside = np.flatnonzero((abs(u) <= rectangle.width / 2) & (abs(v) <= rectangle.height / 2))
    left, right, to_right = _between(u.ravel()[inside], rectangle.width, columns)
    upper, lower, to_lower = _between(v.ravel()[inside], rectangle.height, rows)
    values = np.ascontiguousarray(score_map).ravel()
    above, below = (
        values[row + left] * (1 - to_right) + values[row + right] * to_right
        for row in (upper * columns, lower * columns)
    )
    part = np.zeros(u.size, dtype=np.float32)
    part[inside] = above * (1 - to_lower) + below * to_lower
    result[window] = part.reshape(u.shape)
    return result


def _upright(
    score_map: NDArray[np.float32], rectangle: Rectangle, x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the score map of a rectangle that is not turned at these offsets from its centre.

    The values are those of the other way.  Interpolated along one axis after the other they take a fifth to a third of
    the time.
    """
    rows, columns = score_map.shape
    across, down = np.flatnonzero(abs(x) <= rectangle.width / 2), np.flatnonzero(abs(y) <= rectangle.height / 2)
    left, right, to_right = _between(x[across], rectangle.width, columns)
    upper, lower, to_lower = _between(y[down], rectangle.height, rows)
    wide = score_map[:, left] * (1 - to_right) + score_map[:, right] * to_right
    part = np.zeros((len(y), len(x)), dtype=np.float32)
    part[np.ix_(down, across)] = wide[upper] * (1 - to_lower)[:, None] + wide[lower] * to_lower[:, None]
    return part


def _between(
    offset: NDArray[np.float32], side: int, pixels: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return a map's pixels before and after each offset from the middle of a side, and the weight of the second."""
    position = offset * np.float32(pixels / side) + np.float32((pixels - 1) / 2)
    position = np.minimum(np.maximum(position, 0), np.float32(pixels - 1))
    first = position.astype(np.intp)
    return first, np.minimum(first + 1, pixels - 1), position - first.astype(np.float32)


def _around(
    rectangle: Rectangle, frame: tuple[int, int], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32], tuple[slice, slice]]:
    """Return the map's pixels around a rectangle: offsets x ``[1, n]`` and y ``[m, 1]`` from its centre in frame
    pixels, and their slices.
    """
    cos, sin = abs(rectangle.cos), abs(rectangle.sin)
    half_x = (cos * rectangle.width + sin * rectangle.height) / 2
    half_y = (sin * rectangle.width + cos * rectangle.height) / 2
    x, columns = _covered(rectangle.x, half_x, frame[1], shape[1])
    y, rows = _covered(rectangle.y, half_y, frame[0], shape[0])
    return x[None], y[:, None], (rows, columns)


def _covered(centre: float, half: float, extent: int, pixels: int) -> tuple[NDArray[np.float32], slice]:
    positions = (np.arange(pixels) + 0.5) * extent / pixels - 0.5
    first, last = np.searchsorted(positions, [centre - half, centre + half])
    return (positions[first:last] - centre).astype(np.float32), slice(int(first), int(last))

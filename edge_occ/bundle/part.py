"""The part before a plain ground: its pixels, and where they lie.

The ground's colour and how much it varies come from the border of the frame; NSA (Schlüter et al., 2022, section 3)
sets both by hand for each product.  Everything here is arithmetic of integers, or sums, products, quotients and square
roots of doubles, so that a frame gives the same result on any processor and with any OpenCV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

BORDER = 4
"""Width of the border in pixels."""

UNIFORM = 24
"""Maximum distance of nine tenths of the border from its median colour in an image with a plain ground.  Light that
falls off towards the corners stays below it (17 of 255 for MVTec screw), textures exceed it."""

MIN_CONTRAST = 12
"""Minimum contrast between part and ground in grey levels, far above camera noise."""

SPREAD = 1.5
"""Minimum contrast as a multiple of the spread of the border, which is mostly shading."""

HALF = 0.5
"""Ridler and Calvard's share: a threshold half-way between the ground and the mean of the part."""

STEPS = 4
"""Number of steps of Ridler and Calvard's rule, which exclude the shadow around the part."""

_MEDIAN = 5
"""Side of the majority filter that removes specks (NSA: a 7x7 median filter)."""


@dataclass(frozen=True)
class Part:
    """The largest region that differs from the ground, its holes filled.  Lengths are in pixels of the frame.

    The axis is the direction in which the part extends most, and points to where the part tapers off: the third moment
    along it is not negative.

    Attributes:
        area: pixels.
        cos, sin: of the angle from the frame's x to the axis, clockwise as y points down.
        x, y: middle of the bounding box whose sides are parallel to the axis; 0 is the centre of the first pixel.
        length, width: of that box, along and across the axis.
        elongation: 0 for a disc or a square, 1 for a line: (a - b) / (a + b) of the second moments along and across.
        skewness: of the pixels along the axis, at least 0; 0 if both ends of the outline are alike.
        at_edge: whether the region touches the edge of the frame.
        next_area: pixels of the second largest region; 0 without one.
    """

    area: float
    cos: float
    sin: float
    x: float
    y: float
    length: float
    width: float
    elongation: float
    skewness: float
    at_edge: bool
    next_area: float

    def scaled(self, factor: int) -> Part:
        """Return the part as it is in a frame with ``factor`` times as many pixels in height and width."""
        return Part(
            self.area * factor**2,
            self.cos,
            self.sin,
            (self.x + 0.5) * factor - 0.5,
            (self.y + 0.5) * factor - 0.5,
            self.length * factor,
            self.width * factor,
            self.elongation,
            self.skewness,
            self.at_edge,
            self.next_area * factor**2,
        )


def differing(image: NDArray[np.uint8], share: float = HALF) -> NDArray[np.bool_] | None:
    """Return the pixels that differ from a plain ground, without specks; ``None`` if there is no plain ground.

    Args:
        image: uint8 ``[h, w, 3]`` in any order of colours, larger than 8 pixels in height and width.
        share: of the differing pixels' mean contrast above which a pixel differs, 0 to 1.

    Returns:
        bool ``[h, w]``.
    """
    sides = (image[:BORDER], image[-BORDER:], image[BORDER:-BORDER, :BORDER], image[BORDER:-BORDER, -BORDER:])
    border = np.concatenate([side.reshape(-1, 3) for side in sides])
    middle = (len(border) - 1) // 2
    ground = np.partition(border, middle, axis=0)[middle]
    spread = float(np.quantile(_contrast(border[None], ground), 0.9))
    if spread > UNIFORM:
        return None
    contrast = _contrast(image, ground)
    threshold = max(SPREAD * spread, MIN_CONTRAST)
    counts, levels = np.bincount(contrast.ravel(), minlength=256), np.arange(256)
    for _ in range(STEPS):
        above = levels > threshold
        threshold = max(threshold, share * float(counts[above] @ levels[above]) / max(1, int(counts[above].sum())))
    return _majority(contrast > threshold)


def find_part(image: NDArray[np.uint8], share: float = HALF) -> Part | None:
    """Return the part in an image; ``None`` if nothing differs from a plain ground, or the ground is not plain.

    Args:
        image: as for :func:`differing`.
        share: as for :func:`differing`.
    """
    mask = differing(image, share)
    if mask is None:
        return None
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    regions = sorted(range(1, len(stats)), key=lambda k: (-stats[k, cv2.CC_STAT_AREA], *stats[k, :2]))
    if not regions:
        return None
    left, top, columns, rows = (int(value) for value in stats[regions[0], :4])
    region = _filled(labels[top : top + rows, left : left + columns] == regions[0])
    next_area = float(stats[regions[1], cv2.CC_STAT_AREA]) if len(regions) > 1 else 0.0
    at_edge = left == 0 or top == 0 or left + columns == image.shape[1] or top + rows == image.shape[0]
    return _measured(region, left, top, at_edge=at_edge, next_area=next_area)


def _contrast(image: NDArray[np.uint8], ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest difference from the ground of each pixel's channels, ``[h, w]``."""
    table = np.abs(np.arange(256)[:, None] - ground.astype(np.int64)).astype(np.uint8)
    first, second, third = cv2.split(cv2.LUT(image, table[None]))
    return np.asarray(cv2.max(cv2.max(first, second), third), dtype=np.uint8)


def _majority(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether most pixels of the square about each pixel are true; pixels outside the image are false."""
    square = (_MEDIAN, _MEDIAN)
    counts = cv2.boxFilter(mask.astype(np.uint8), -1, square, normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(counts > _MEDIAN**2 // 2)


def _filled(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the holes of a region."""
    # Not by connected components of the ground: with 4-connectivity OpenCV 4.5.5 crashes on some shapes.
    padded = np.pad(region, 1).astype(np.uint8)
    cv2.floodFill(padded, None, (0, 0), 2)
    return np.asarray(padded[1:-1, 1:-1] != 2)


def _measured(region: NDArray[np.bool_], left: int, top: int, *, at_edge: bool, next_area: float) -> Part:
    rows, columns = region.shape
    # Sums of integers below 2**53, so that no order of the additions changes them.
    powers_y = np.arange(rows, dtype=np.float64) ** np.arange(4)[:, None]
    powers_x = np.arange(columns, dtype=np.float64)[:, None] ** np.arange(4)
    moments = [[float(value) for value in row] for row in powers_y @ region.astype(np.float64) @ powers_x]
    area = moments[0][0]
    # m[q][p] is the mean of y**q * x**p.
    m = [[value / area for value in row] for row in moments]
    mx, my = m[0][1], m[1][0]
    xx, xy, yy = m[0][2] - mx * mx, m[1][1] - mx * my, m[2][0] - my * my
    xxx = m[0][3] - 3 * mx * m[0][2] + 2 * mx**3
    yyy = m[3][0] - 3 * my * m[2][0] + 2 * my**3
    xxy = m[1][2] - 2 * mx * m[1][1] - my * m[0][2] + 2 * mx * mx * my
    xyy = m[2][1] - 2 * my * m[1][1] - mx * m[2][0] + 2 * mx * my * my
    cos, sin = _axis(xx - yy, 2 * xy)
    along = cos * cos * xx + 2 * cos * sin * xy + sin * sin * yy
    third = cos**3 * xxx + 3 * cos * cos * sin * xxy + 3 * cos * sin * sin * xyy + sin**3 * yyy
    if third < 0:
        cos, sin, third = -cos, -sin, -third
    u, v = _corners(region, cos, sin)
    middle_u, middle_v = (u[0] + u[1]) / 2, (v[0] + v[1]) / 2
    total = xx + yy
    return Part(
        area=area,
        cos=cos,
        sin=sin,
        x=left + middle_u * cos - middle_v * sin,
        y=top + middle_u * sin + middle_v * cos,
        length=u[1] - u[0] + 1,
        width=v[1] - v[0] + 1,
        elongation=(2 * along - total) / total if total > 0 else 0.0,
        skewness=third / (along * math.sqrt(along)) if along > 0 else 0.0,
        at_edge=at_edge,
        next_area=next_area,
    )


def _axis(difference: float, twice: float) -> tuple[float, float]:
    """Return cosine and sine of half the angle of the vector (difference, twice), without the trigonometry that differs
    between processors.
    """
    size = math.sqrt(difference * difference + twice * twice)
    if size == 0:
        return 1.0, 0.0
    larger = math.sqrt((1 + abs(difference) / size) / 2)
    smaller = abs(twice) / size / (2 * larger)
    cos, sin = (larger, smaller) if difference >= 0 else (smaller, larger)
    return cos, math.copysign(sin, twice)


def _corners(region: NDArray[np.bool_], cos: float, sin: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return lowest and highest position of a region's pixels along an axis and across it."""
    y = np.flatnonzero(region.any(axis=1))
    first = region[y].argmax(axis=1)
    last = region.shape[1] - 1 - region[y, ::-1].argmax(axis=1)
    x, y = np.concatenate([first, last]), np.concatenate([y, y])
    u, v = cos * x + sin * y, cos * y - sin * x
    return (float(u.min()), float(u.max())), (float(v.min()), float(v.max()))

"""Pictures of one good image for a person to judge: whole, under its heatmap, and the place of the peak close up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Calibration
from edge_occ.output.heatmap import encode_jpeg, overlay, shrink

BgrImage: TypeAlias = NDArray[np.uint8]
"""``[height, width, 3]``, BGR."""

_MIN_SIDE, _MAX_SIDE, _THUMBNAIL, _CLOSE_UP = 480, 720, 112, 480
"""Longest sides of the pictures in pixels: of the frame, which is enlarged so that outlines are thin on it, of the
thumbnail and of the close-up."""

_SHARE, _LEAST = 0.25, 64
"""Side of the close-up: a quarter of the frame's shorter side, and at least this many of its pixels."""


@dataclass(frozen=True)
class Square:
    """A square of a frame, in its pixels; as wide as the frame where that is narrower."""

    top: int
    left: int
    height: int
    width: int


def peak_of(score_map: NDArray[np.float32]) -> tuple[float, float]:
    """Return the middle of the cell with the highest score, as shares of height and width."""
    row, column = np.unravel_index(int(score_map.argmax()), score_map.shape)
    return (float(row) + 0.5) / score_map.shape[0], (float(column) + 0.5) / score_map.shape[1]


def square_around(peak: tuple[float, float], shape: tuple[int, int]) -> Square:
    """Return the square of the close-up, moved inside the frame where the peak is near its border.

    Args:
        peak: shares of height and width.
        shape: height and width of the frame in pixels.
    """
    side = max(round(_SHARE * min(shape)), _LEAST)
    (top, height), (left, width) = (
        _span(place * extent, side, extent) for place, extent in zip(peak, shape, strict=True)
    )
    return Square(top, left, height, width)


def thumbnail(frame: BgrImage) -> bytes:
    """Return a small JPEG of the frame."""
    return encode_jpeg(shrink(frame, _THUMBNAIL), 80)


def judged(frame: BgrImage, score_map: NDArray[np.float32], calibration: Calibration) -> tuple[bytes, bytes, bytes]:
    """Return three JPEGs: the frame; the frame with its heatmap and the square around the peak; that square alone, with
    the pixels of the frame.

    Args:
        frame: the frame.
        score_map: ``[rows, columns]``, stretched over the frame.
        calibration: median score, where the colours begin, and threshold.
    """
    square = square_around(peak_of(score_map), frame.shape[:2])
    small = _enlarged(shrink(frame, _MAX_SIDE), _MIN_SIDE)
    hot = overlay(small, score_map, calibration.median, calibration.threshold)
    scale = small.shape[1] / frame.shape[1]
    start = round(scale * square.left), round(scale * square.top)
    end = round(scale * (square.left + square.width - 1)), round(scale * (square.top + square.height - 1))
    cv2.rectangle(hot, start, end, (0, 0, 0), 3)  # white on black is visible on any background
    cv2.rectangle(hot, start, end, (255, 255, 255), 1)
    return encode_jpeg(small, 90), encode_jpeg(hot), encode_jpeg(_close_up(frame, square), 92)


def _close_up(frame: BgrImage, square: Square) -> BgrImage:
    inside = frame[square.top : square.top + square.height, square.left : square.left + square.width]
    return _enlarged(shrink(inside, _CLOSE_UP), _CLOSE_UP)


def _enlarged(image: BgrImage, least: int) -> BgrImage:
    """Enlarge an image whose longest side is below ``least`` pixels, linearly: a curve would add edges of its own."""
    height, width = image.shape[:2]
    scale = least / max(height, width)
    if scale <= 1:
        return image
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def _span(centre: float, side: int, extent: int) -> tuple[int, int]:
    """Return start and length of a stretch around ``centre`` that lies within ``0..extent``."""
    length = min(side, extent)
    return min(max(round(centre - length / 2), 0), extent - length), length

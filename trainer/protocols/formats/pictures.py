"""Folders of pictures, read into one array of small square images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from edge_occ.common.progress import ProgressReport

Shrink = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]
"""Converts a picture uint8 ``[h, w, 3]`` and a side in pixels to uint8 ``[side, side, 3]``."""


def read_squares(paths: Sequence[Path], side: int, shrink: Shrink, title: str) -> NDArray[np.uint8]:
    """Read and shrink pictures in order, with a progress bar; only the squares stay in memory.

    Returns:
        RGB uint8 ``[n, 3, side, side]``.

    Raises:
        InputError: as :func:`edge_occ.common.images.read_image`, or what ``shrink`` raises, with the path added.
    """
    squares = np.empty((len(paths), 3, side, side), np.uint8)

    def read(place: int) -> None:
        picture = read_image(paths[place])
        try:
            squares[place] = shrink(picture, side)[..., ::-1].transpose(2, 0, 1)
        except InputError as error:
            raise InputError(error.expected, f"{paths[place]}, {error.found}", error.advice) from None

    with ThreadPoolExecutor() as pool, ProgressReport(title, len(paths)) as progress:
        for _ in pool.map(read, range(len(paths))):
            progress.advance()
    return squares


def area_square(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize the shorter edge to ``side`` by area averaging, then crop the middle of the longer edge.

    The longer edge and the margin before the crop are rounded down, as in the two-stage paper's released code.
    """
    height, width = picture.shape[:2]
    tall, wide = (int(side * height / width), side) if height > width else (side, int(side * width / height))
    resized = cv2.resize(picture, (wide, tall), interpolation=cv2.INTER_AREA)
    top, left = (tall - side) // 2, (wide - side) // 2
    return np.asarray(resized[top : top + side, left : left + side], np.uint8)


def bicubic_square(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Resize a square picture as Pillow 8 does by default, to within one level: bicubic, anti-aliased.

    Like Pillow it resamples along the rows, rounds to integers, and then resamples along the columns.
    """
    across = _resampled(picture.transpose(1, 0, 2), side)
    return _resampled(across.transpose(1, 0, 2), side)


def _resampled(levels: NDArray[np.uint8], target: int) -> NDArray[np.uint8]:
    """Resample the first of three axes.  A plain sum, because BLAS would start threads inside each reader thread."""
    source = levels.astype(np.float32)
    total = np.full((target, *levels.shape[1:]), 0.5, np.float32)
    for places, weights in zip(*_bicubic(len(levels), target), strict=True):
        total += weights[:, None, None] * source[places]
    return np.clip(np.floor(total), 0, 255).astype(np.uint8)


@cache
def _bicubic(extent: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Neighbours and weights ``[neighbours, target]`` of Keys' cubic with a = -1/2, widened when shrinking."""
    scale = extent / target
    wide = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    places = np.floor(centres - 2 * wide) + np.arange(int(4 * wide) + 2)[:, None]
    x = np.abs(places + 0.5 - centres) / wide
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    inside = (places >= 0) & (places < extent)
    weights = np.where(x < 1, near, np.where(x < 2, far, 0)) * inside
    return places.clip(0, extent - 1).astype(np.intp), (weights / weights.sum(0)).astype(np.float32)

"""Brightness, contrast and sharpness of a picture, and how many of its rows repeat themselves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.decoding import Pixels

_EVERY = 16
"""Columns between those that are compared first: rows of a real picture differ in one of them."""


_ROWS = 128
"""Rows in which sharpness is measured; more do not change it, and in 4K take milliseconds."""

_FAR = 8
"""Columns between the pixels whose difference stands for the contrast of the picture's edges."""


def mean_and_deviation(image: Pixels) -> tuple[float, float]:
    """Mean value and standard deviation of the pixels.

    Args:
        image: ``[height, width, 3]``.

    Returns:
        The mean of the channels' means, and the root of the mean of their variances: 0 for a picture of one colour.
    """
    means, deviations = cv2.meanStdDev(image)
    return float(np.mean(means)), float(np.sqrt(np.mean(np.square(deviations))))


def sharpness(image: Pixels) -> float:
    """Contrast between neighbouring pixels as a share of that between pixels some columns apart, 0 to 1.

    It depends neither on brightness nor on contrast.  The more a lens is out of focus, the smoother are the edges: over
    a smooth edge the difference grows with the distance, and the value goes to 0.  Noise has the value 1, so a noisy
    picture never looks blurred.

    Args:
        image: ``[height, width, 3]``; only its middle channel is looked at.

    Returns:
        1 where there is nothing to measure: for a picture of one colour or of a few columns.
    """
    rows = image[:: max(1, image.shape[0] // _ROWS), :, 1].astype(np.float32)
    if rows.shape[1] <= _FAR:
        return 1.0
    near = float(np.abs(np.diff(rows, axis=1)).mean())
    far = float(np.abs(rows[:, _FAR:] - rows[:, :-_FAR]).mean())
    return 1.0 if far == 0 else min(max((near / far - 1 / _FAR) / (1 - 1 / _FAR), 0.0), 1.0)


def repeated_rows(image: NDArray[np.uint8]) -> float:
    """Share of the rows in the longest run of rows that equal the row above them, 0 to 1.

    Rows of a sensor differ by its noise, unless they are black or saturated.  A decoder that lacks data fills rows with
    one value, or repeats the last one.

    Args:
        image: ``[height, width, 3]``.
    """
    sampled = _longest_run(image[:, ::_EVERY])
    return sampled if sampled == 0 else _longest_run(image)


def _longest_run(image: NDArray[np.uint8]) -> float:
    different = np.flatnonzero((image[1:] != image[:-1]).any((1, 2)))
    ends = np.concatenate(([-1], different, [len(image) - 1]))
    return float(np.diff(ends).max() - 1) / len(image)

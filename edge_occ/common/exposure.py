"""Brightness and contrast of a picture, and how many of its rows repeat themselves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.decoding import Pixels

_EVERY = 16
"""Columns between those that are compared first: rows of a real picture differ in one of them."""


def mean_and_deviation(image: Pixels) -> tuple[float, float]:
    """Mean value and standard deviation of the pixels.

    Args:
        image: ``[height, width, 3]``.

    Returns:
        The mean of the channels' means, and the root of the mean of their variances: 0 for a picture of one colour.
    """
    means, deviations = cv2.meanStdDev(image)
    return float(np.mean(means)), float(np.sqrt(np.mean(np.square(deviations))))


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

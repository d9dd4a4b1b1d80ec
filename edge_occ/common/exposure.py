"""Brightness, contrast and sharpness of a picture, and how many of its rows repeat themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from edge_occ.common.decoding import Pixels

_EVERY = 16
"""Columns between those that are compared first: rows of a real picture differ in one of them."""


_ROWS = 128
"""Rows in which brightness and sharpness are measured; more do not change them, and in 4K take milliseconds."""

_SIDE = 64
"""Rows and columns in which levels are measured."""

_FAR = 8
"""Columns between the pixels whose difference stands for the contrast of the picture's edges."""

LEVELS = (0.1, 0.5, 0.9)
"""Shares of the pixels that are at most as bright as each of the levels: shadows, the middle, and highlights."""


@dataclass(frozen=True)
class Light:
    """Brightness, contrast and sharpness of one picture.

    Attributes:
        mean: see :func:`mean_and_deviation`; as the next in the picture's own units, 0 to 255 or 0 to 65535.
        deviation: see :func:`mean_and_deviation`.
        levels: see :func:`levels`.
        repeated_rows: see :func:`repeated_rows`.
        sharpness: see :func:`sharpness`.
    """

    mean: float
    deviation: float
    levels: tuple[float, float, float]
    repeated_rows: float
    sharpness: float

    @classmethod
    def of(cls, image: Pixels) -> Light:
        """Measure a picture, ``[height, width, 3]``."""
        mean, deviation = mean_and_deviation(image)
        return cls(mean, deviation, levels(image), repeated_rows(image), sharpness(image))

    def scaled(self, factor: float) -> Light:
        """Return the light of the same picture in other units."""
        dark, middle, bright = (level * factor for level in self.levels)
        return replace(self, mean=self.mean * factor, deviation=self.deviation * factor, levels=(dark, middle, bright))


def mean_and_deviation(image: Pixels) -> tuple[float, float]:
    """Mean value and standard deviation of the pixels.

    Args:
        image: ``[height, width, 3]``; only some rows of large ones are looked at.

    Returns:
        The mean of the channels' means, and the root of the mean of their variances: 0 for a picture of one colour.
    """
    means, deviations = cv2.meanStdDev(_some_rows(image))
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
    rows = _some_rows(image)[:, :, 1].astype(np.float32)
    if rows.shape[1] <= _FAR:
        return 1.0
    near = float(np.abs(np.diff(rows, axis=1)).mean())
    far = float(np.abs(rows[:, _FAR:] - rows[:, :-_FAR]).mean())
    return 1.0 if far == 0 else min(max((near / far - 1 / _FAR) / (1 - 1 / _FAR), 0.0), 1.0)


def levels(image: Pixels) -> tuple[float, float, float]:
    """Value below which a tenth, half and nine tenths of the pixels lie: where the exposure changes, all three move.

    Args:
        image: ``[height, width, 3]``; only its middle channel is looked at.
    """
    rows, columns = (max(1, side // _SIDE) for side in image.shape[:2])
    some = np.sort(image[::rows, ::columns, 1], axis=None)
    dark, middle, bright = (float(some[int(share * (some.size - 1))]) for share in LEVELS)
    return dark, middle, bright


def repeated_rows(image: Pixels) -> float:
    """Share of the rows in the longest run of rows that equal the row above them, 0 to 1.

    Rows of a sensor differ by its noise, unless they are black or saturated.  A decoder that lacks data fills rows with
    one value, or repeats the last one.

    Args:
        image: ``[height, width, 3]``.
    """
    sampled = at_most_repeated_rows(image)
    return sampled if sampled == 0 else _longest_run(image)


def at_most_repeated_rows(image: Pixels) -> float:
    """Return an upper bound of :func:`repeated_rows` from some columns, in a tenth of its time."""
    return _longest_run(image[:, ::_EVERY])


def _some_rows(image: Pixels) -> Pixels:
    return image[:: max(1, image.shape[0] // _ROWS)]


def _longest_run(image: Pixels) -> float:
    different = np.flatnonzero((image[1:] != image[:-1]).any((1, 2)))
    ends = np.concatenate(([-1], different, [len(image) - 1]))
    return float(np.diff(ends).max() - 1) / len(image)

"""Standardised scores: each position measured by how its own scores vary on normal images.

Squared distances are skewed, and some positions (an edge, a print) always score higher than others.  The logarithm of a
score, less its mean over held-out normal images and divided by its deviation, is comparable from position to position.
Mean and deviation are smoothed over a position's neighbours, as a few dozen images estimate them coarsely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.covariance import Floats
from edge_occ.bundle.sample_grid import Region

OFFSET = 4.0
"""Added to standardised scores, which are cut off at 0: a position four deviations below its mean cannot be more
normal.  A score map thus stays at least 0, as other heads' maps are."""

MIN_DEVIATION = 0.05
"""Lowest deviation of a logarithm: scores that vary by less than a twentieth are equal but for rounding."""


@dataclass(frozen=True)
class LogScale:
    """Mean and deviation of the logarithm of each position's scores, ``log(1 + score)``.

    Attributes:
        mean: ``[rows, columns]``.
        deviation: ``[rows, columns]``, at least :data:`MIN_DEVIATION`.
    """

    mean: Floats
    deviation: Floats

    def apply(self, scores: Floats) -> Floats:
        """Standardise scores ``[n, rows, columns]``, at least 0: ``[n, rows, columns]``, at least 0."""
        standardised: Floats = np.maximum((np.log1p(scores) - self.mean) / self.deviation + OFFSET, 0)
        return standardised

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """A head's further tensors, as they are stored in a bundle and put into an engine."""
        return {"log_mean": self.mean.astype(np.float32), "log_deviation": self.deviation.astype(np.float32)}


def log_scale(held_out: Floats, region: Region | None = None) -> LogScale:
    """Measure the scale of held-out scores of normal images.

    Args:
        held_out: ``[n, rows, columns]``, or ``[n, 1, p]`` with a region of ``p`` positions.
        region: the positions that they are of, bool; None: all.
    """
    logs = np.log1p(held_out)
    return _scale(logs.mean(0), np.square(logs).mean(0), region)


def standardise_held_out(
    held_out: Floats,
    parts: NDArray[np.int64],
    scored: Floats,
    left_out: NDArray[np.int64],
    region: Region | None = None,
) -> Floats:
    """Standardise scores, each by the scale of the images of all other parts.

    Args:
        held_out: scores of the normal images, ``[n, *grid]``; see :func:`log_scale`.
        parts: the part that each shows, ``[n]``, from 0 without gaps.
        scored: scores to standardise, ``[m, *grid]``.
        left_out: the part whose images each is standardised without, ``[m]``.
        region: as in :func:`log_scale`.

    Returns:
        ``[m, *grid]``, at least 0.
    """
    logs = np.log1p(held_out)
    squares = np.square(logs)
    total, total_squares, n = logs.sum(0), squares.sum(0), len(logs)
    result = np.empty(scored.shape)
    for part in np.unique(left_out):
        own = parts == part
        rest = n - own.sum()
        scale = _scale((total - logs[own].sum(0)) / rest, (total_squares - squares[own].sum(0)) / rest, region)
        chosen = left_out == part
        result[chosen] = scale.apply(scored[chosen])
    return result


def _scale(mean: Floats, mean_square: Floats, region: Region | None) -> LogScale:
    variance = np.maximum(mean_square - np.square(mean), 0)
    inside = np.ones(mean.shape, dtype=np.bool_) if region is None else region
    smooth_mean, smooth_variance = (_smooth(values, inside) for values in (mean, variance))
    return LogScale(smooth_mean, np.maximum(np.sqrt(smooth_variance), MIN_DEVIATION))


def _smooth(values: Floats, inside: Region) -> Floats:
    """Mean of each position inside and its neighbours inside, ``values.shape``."""
    sums = np.zeros((2, inside.shape[0] + 2, inside.shape[1] + 2))
    sums[0, 1:-1, 1:-1][inside] = values.reshape(-1)
    sums[1, 1:-1, 1:-1] = inside
    for axis in (1, 2):
        sums = sums + np.roll(sums, 1, axis) + np.roll(sums, -1, axis)
    smooth: Floats = (sums[0] / np.maximum(sums[1], 1))[1:-1, 1:-1][inside]
    return smooth.reshape(values.shape)

"""Gaussians of features at the positions of a grid, in numpy and float64, for training and for a device alike.

CutPaste, equation 2: the anomaly score is the Mahalanobis distance to a Gaussian of normal features.  Section A.5 fits
one Gaussian for all positions (textures, parts in any pose) or one a position (aligned parts).  The score is the
squared distance ``||W (f - mean)||^2``; see :mod:`edge_occ.bundle.covariance` for the whitening ``W``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge_occ.bundle.covariance import Floats, whiten
from edge_occ.bundle.sample_grid import Features, GaussianSettings, Region, SampleGrid, pooled_side

ONE_THREAD = {"limits": 1, "user_api": "blas"}
"""Threads of the matrix library while it works on many small matrices: several would wait for each other at each one,
and many times longer where other processes use the cores."""


MIN_FLOOR = 1e-3
"""Least floor, as a share of the features' variance, with which a whitening is rounded to float16.  Rounding changes
each weight by 4.9e-4 at most, and scores by less than that times the root of the features' mean variance inflation,
which the floor limits to its inverse."""


class SingularCovariance(ValueError):
    """A regularised covariance is singular (say, features do not vary and the ridge is too small)."""


@dataclass(frozen=True)
class Gaussian:
    """A fitted Gaussian, float64.

    Attributes:
        mean: ``[rows, columns, d]``, or ``[1, 1, d]`` for all positions.
        whitening: ``[rows, columns, k, d]``, or ``[1, 1, k, d]`` for all positions.
        half: whether float16 is precise enough for the whitening of every position.
    """

    mean: Floats
    whitening: Floats
    half: bool = False

    def score(self, features: Features) -> Floats:
        """Squared Mahalanobis distances ``[n, rows, columns]`` of features ``[n, rows, columns, d]``."""
        scores = np.empty(features.shape[:3])
        for row in range(features.shape[1]):
            centred = features[:, row] - self.mean[row % len(self.mean)]
            transposed = self.whitening[row % len(self.whitening)].transpose(0, 2, 1)
            whitened = centred.transpose(1, 0, 2) @ transposed
            scores[:, row] = np.einsum("cnk,cnk->nc", whitened, whitened)
        return scores

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The head's tensors, float32, as they are stored in a bundle and put into an engine.

        The whitening of every position is most of a bundle, and reading it takes a third of a frame's time.  So it has
        values that float16 holds, where :attr:`half` says so, and no quarters of zeros (:func:`without_zeros`).
        """
        whitening = self.whitening.astype(np.float32)
        if whitening.shape[:2] != (1, 1):
            whitening = without_zeros(whitening)
            if self.half:
                whitening = whitening.astype(np.float16).astype(np.float32)
        return {"mean": self.mean.astype(np.float32), "whitening": whitening}


def without_zeros(matrices: NDArray[np.float32]) -> NDArray[np.float32]:
    """Leave out the upper right quarters of lower triangular matrices.

    Args:
        matrices: ``[rows, columns, k, d]``.

    Returns:
        The quarters upper left, lower left and lower right: ``[rows, columns, 3, d / 2, d / 2]``.  Matrices that have
        no halves, or anything else than zeros there, as they are.
    """
    half, odd = divmod(matrices.shape[3], 2)
    if odd or matrices.shape[2] != matrices.shape[3] or matrices[:, :, :half, half:].any():
        return matrices
    upper, lower = matrices[:, :, :half], matrices[:, :, half:]
    return np.stack((upper[..., :half], lower[..., :half], lower[..., half:]), 2)


def from_tensors(mean: NDArray[np.float32], whitening: NDArray[np.float32]) -> Gaussian:
    """The inverse of :meth:`Gaussian.tensors`, with the rounding that the tensors have."""
    whole = whitening.astype(np.float64)
    if whole.ndim == _QUARTERS:
        upper, left, right = (whole[:, :, quarter] for quarter in range(3))
        rows = (np.concatenate((upper, np.zeros_like(upper)), 3), np.concatenate((left, right), 3))
        whole = np.concatenate(rows, 2)
    return Gaussian(mean.astype(np.float64), whole)


_QUARTERS = 5
"""Axes of a whitening that is three quarters of matrices."""


def fit_gaussian(features: Features, settings: GaussianSettings, region: Region | None = None) -> Gaussian:
    """Fit to the features of normal images, a row of positions at a time to bound memory.

    With ``settings.trim`` the fit is made twice: the second time without the samples that are farthest from the first
    Gaussian, as many at each position, because a defect among the images spoils some of its positions only.  Distances
    by the second are larger throughout, which a threshold from held-out scores takes into account.

    Args:
        features: ``[n, rows, columns, d]``.
        settings: scope, regularisation, neighbourhood and trimmed share.
        region: the positions to fit on; None: all.

    Raises:
        SingularCovariance: the regularised covariance is singular.
    """
    if settings.trim:
        # Both fits pool the positions that all images ask for.
        side = pooled_side(settings.neighbourhood, len(features), features.shape[3])
        kept = max(1, round(len(features) * (1 - settings.trim)))
        settings = replace(settings, neighbourhood=side, trim=0.0)
        features = _nearest(features, fit_gaussian(features, settings), kept)
    with threadpool_limits(**ONE_THREAD):
        grid = SampleGrid(features, settings, region)
        fitted = [whiten(samples, settings.regularisation, grid.floor) for samples in grid]
    require_regular(np.concatenate([singular for _, singular in fitted]), settings)
    shape = (1, 1) if settings.scope != "per-position" else grid.shape
    whitening = np.concatenate([whitening for whitening, _ in fitted])
    half = settings.regularisation.floor >= MIN_FLOOR
    return Gaussian(grid.mean, whitening.reshape(*shape, *whitening.shape[1:]), half)


def _nearest(features: Features, gaussian: Gaussian, count: int) -> Features:
    """Return the ``count`` samples nearest to a Gaussian at each position, ``[count, rows, columns, d]``."""
    order = np.argsort(gaussian.score(features), axis=0, kind="stable")[:count]
    return np.take_along_axis(features, order[..., None], 0)


def require_regular(singular: NDArray[np.bool_], settings: GaussianSettings) -> None:
    """Raise if any covariance is singular.

    Raises:
        SingularCovariance: one is.
    """
    if singular.any():
        raise SingularCovariance(
            f"the covariance is singular at {singular.sum()} of {singular.size} positions with "
            f"regulariser={settings.regularisation.regulariser}"
        )

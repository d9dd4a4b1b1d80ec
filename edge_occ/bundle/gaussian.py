"""Gaussians of features at the positions of a grid, in numpy and float64, for training and for a device alike.

CutPaste, equation 2: the anomaly score is the Mahalanobis distance to a Gaussian of normal features.  Section A.5 fits
one Gaussian for all positions (textures, parts in any pose) or one a position (aligned parts).  The score is the
squared distance ``||W (f - mean)||^2``; see :mod:`edge_occ.bundle.covariance` for the whitening ``W``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge_occ.bundle.covariance import Floats, Regularisation, Samples, samples_of, whiten

Features: TypeAlias = "NDArray[np.floating[Any]]"
Scope = Literal["shared", "per-position", "position-mean"]
"""Which positions share a Gaussian: all of them, none, or all with a mean of each position's own."""


ONE_THREAD = {"limits": 1, "user_api": "blas"}
"""Threads of the matrix library while it works on many small matrices: several would wait for each other at each one,
and many times longer where other processes use the cores."""


class SingularCovariance(ValueError):
    """A regularised covariance is singular (say, features do not vary and the ridge is too small)."""


@dataclass(frozen=True)
class GaussianSettings:
    """The settings of a fit.

    Attributes:
        scope: which positions share a Gaussian.
        regularisation: of the covariance.
        neighbourhood: rows and columns of positions whose samples a per-position Gaussian pools, odd, or "auto"; see
            :func:`pooled_side`.
        trim: share of the samples at each position that a robust fit drops, 0 to below 1; see :func:`fit_gaussian`.
    """

    scope: Scope = "per-position"
    regularisation: Regularisation = field(default_factory=Regularisation)
    neighbourhood: int | Literal["auto"] = "auto"
    trim: float = 0.0


@dataclass(frozen=True)
class Gaussian:
    """A fitted Gaussian, float64.

    Attributes:
        mean: ``[rows, columns, d]``, or ``[1, 1, d]`` for all positions.
        whitening: ``[rows, columns, k, d]``, or ``[1, 1, k, d]`` for all positions.
    """

    mean: Floats
    whitening: Floats

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
        """The head's tensors, as they are stored in a bundle and put into an engine."""
        return {"mean": self.mean.astype(np.float32), "whitening": self.whitening.astype(np.float32)}


def fit_gaussian(features: Features, settings: GaussianSettings) -> Gaussian:
    """Fit to the features of normal images, a row of positions at a time to bound memory.

    With ``settings.trim`` the fit is made twice: the second time without the samples that are farthest from the first
    Gaussian, as many at each position, because a defect among the images spoils some of its positions only.  Distances
    by the second are larger throughout, which a threshold from held-out scores takes into account.

    Args:
        features: ``[n, rows, columns, d]``.
        settings: scope, regularisation, neighbourhood and trimmed share.

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
        grid = SampleGrid(features, settings)
        fitted = [whiten(samples, settings.regularisation, grid.floor) for samples in grid]
    require_regular(np.stack([singular for _, singular in fitted]), settings)
    return Gaussian(grid.mean, np.stack([whitening for whitening, _ in fitted]))


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


def pooled_side(neighbourhood: int | Literal["auto"], images: int, dim: int) -> int:
    """Rows and columns of positions to pool for ``images`` images of ``dim`` features; "auto" takes the fewest that
    give two samples a dimension, at most 5.
    """
    if neighbourhood != "auto":
        return neighbourhood
    return next((side for side in (1, 3) if images * side * side >= 2 * dim), 5)


class SampleGrid:
    """The samples that each Gaussian of a grid is fitted to.

    Iterating gives :class:`~edge_occ.bundle.covariance.Samples` row by row: of the Gaussians of a row of positions, or
    once of the one that all positions share.  A per-position Gaussian pools the samples of its neighbours, which stand
    in for small misplacements of the part; at the border the neighbourhood repeats the edge.

    Args:
        features: ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.

    Attributes:
        mean: of the Gaussians, ``[rows, columns, d]`` or ``[1, 1, d]``.
        floor: variance that is added in every direction.
        side: rows and columns of positions that a Gaussian pools.
    """

    def __init__(self, features: Features, settings: GaussianSettings) -> None:
        n, rows, columns, dim = features.shape
        self._features, self._per_position = features, settings.scope == "per-position"
        self.side = pooled_side(settings.neighbourhood, n, dim) if self._per_position else 1
        self._rows, self._columns = _neighbours(rows, self.side), _neighbours(columns, self.side)
        self._means = features.mean(0, dtype=np.float64)
        overall = self._means.mean((0, 1), keepdims=True)
        pooled = self._means[self._rows].mean(1)[:, self._columns].mean(2)
        self.mean: Floats = overall if settings.scope == "shared" else pooled
        squared = sum(np.square(features[:, row] - overall[0]).sum() for row in range(rows))
        self.floor = settings.regularisation.floor * float(squared) / features.size

    def __iter__(self) -> Iterator[Samples]:
        if not self._per_position:
            yield samples_of(_CentredRows(self._features, self.mean))
            return
        moments: dict[int, tuple[Floats, Floats]] = {}
        for row, near in enumerate(self._rows):
            moments = {r: moments[r] if r in moments else self._moments(r) for r in dict.fromkeys(near.tolist())}
            yield self._pooled(row, [moments[r] for r in near.tolist()])

    def _moments(self, row: int) -> tuple[Floats, Floats]:
        """Samples of a row's positions less their own mean ``[columns, n, d]``, and covariances ``[columns, d, d]``."""
        centred = np.ascontiguousarray((self._features[:, row] - self._means[row]).transpose(1, 0, 2))
        return centred, centred.transpose(0, 2, 1) @ centred / centred.shape[1]

    def _pooled(self, row: int, moments: list[tuple[Floats, Floats]]) -> Samples:
        """Samples of a row whose only block is ``[columns, side * side * n, d]``: neighbour by neighbour, the position
        itself in the middle.

        The covariance is the mean of the neighbours' own and of their means' deviations: as exact as from the samples,
        and cheaper, as each position's is computed once.
        """
        n, _, columns, dim = self._features.shape
        means = self._means[self._rows[row]][:, self._columns]  # [side, columns, side, d]
        deviations = means - self.mean[row, :, None]
        block = np.empty((columns, self.side, self.side, n, dim))
        for k, (centred, _) in enumerate(moments):
            np.add(centred[self._columns], deviations[k, :, :, None], out=block[:, k])
        own = np.sum([covariance for _, covariance in moments], 0) / self.side
        between = deviations.transpose(1, 0, 2, 3).reshape(columns, -1, dim)
        pooled = self.side * self.side
        covariance = own[self._columns].mean(1) + between.transpose(0, 2, 1) @ between / pooled
        return Samples((block.reshape(columns, -1, dim),), n * pooled, covariance)


class _CentredRows:
    """All samples less the mean of their position or of all, ``[1, n * columns, d]`` for each row of positions."""

    def __init__(self, features: Features, mean: Floats) -> None:
        self._features, self._mean = features, mean

    def __iter__(self) -> Iterator[Floats]:
        for row in range(self._features.shape[1]):
            yield (self._features[:, row] - self._mean[row % len(self._mean)]).reshape(1, -1, self._features.shape[3])


def _neighbours(positions: int, side: int) -> NDArray[np.intp]:
    """Indices ``[positions, side]`` of each position's neighbours along an axis, itself in the middle."""
    reach = side // 2
    indices: NDArray[np.intp] = np.arange(positions)[:, None] + np.arange(-reach, reach + 1)
    return indices.clip(0, positions - 1)

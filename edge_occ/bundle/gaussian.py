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
Region: TypeAlias = "NDArray[np.bool_]"
"""Positions that are inspected, bool ``[rows, columns]``, at least one.  What is fitted on ``p`` of them has the shape
of a grid with one row, ``[1, p, ...]``, in the order of the rows."""

Scope = Literal["shared", "per-position", "position-mean"]
"""Positions that share a Gaussian: all of them, none, or all, with an own mean at each position."""


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


def pooled_side(neighbourhood: int | Literal["auto"], images: int, dim: int) -> int:
    """Rows and columns of positions to pool for ``images`` images of ``dim`` features; "auto" takes the fewest that
    give two samples a dimension, at most 5.
    """
    if neighbourhood != "auto":
        return neighbourhood
    return next((side for side in (1, 3) if images * side * side >= 2 * dim), 5)


class SampleGrid:
    """The samples that each Gaussian of a grid is fitted to.

    Iterating gives :class:`~edge_occ.bundle.covariance.Samples` row by row: of the Gaussians of a row's positions, or
    once of the one that all positions share.  A per-position Gaussian pools the samples of its neighbours, which stand
    in for small misplacements of the part; at the border the neighbourhood repeats the edge.

    Args:
        features: ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.
        region: the positions to fit on; None: all.

    Attributes:
        shape: rows and columns of the Gaussians; ``(1, p)`` with a region of ``p`` positions.
        places: row and columns of the positions, for each row that has any.
        mean: of the Gaussians, ``[*shape, d]`` or ``[1, 1, d]``.
        floor: variance that is added in every direction, a share of that of the whole grid.
        side: rows and columns of positions that a Gaussian pools.
    """

    def __init__(self, features: Features, settings: GaussianSettings, region: Region | None = None) -> None:
        n, rows, columns, dim = features.shape
        self._features = features
        self._per_position, self._shared_mean = settings.scope == "per-position", settings.scope == "shared"
        inside = np.ones((rows, columns), dtype=np.bool_) if region is None else region
        self.shape = (rows, columns) if region is None else (1, int(inside.sum()))
        self.places = [(row, np.flatnonzero(inside[row])) for row in range(rows) if inside[row].any()]
        self.side = pooled_side(settings.neighbourhood, n, dim) if self._per_position else 1
        self._rows, self._columns = _neighbours(rows, self.side), _neighbours(columns, self.side)
        self._means = features.mean(0, dtype=np.float64)
        self._pooled_means = self._means[self._rows].mean(1)[:, self._columns].mean(2)
        overall = self._means[inside].mean(0)
        self.mean: Floats = (
            overall.reshape(1, 1, dim) if self._shared_mean else self._pooled_means[inside].reshape(*self.shape, dim)
        )
        of_frame = self._means.mean((0, 1))
        squared = sum(np.square(features[:, row] - of_frame).sum() for row in range(rows))
        self.floor = settings.regularisation.floor * float(squared) / features.size

    def __iter__(self) -> Iterator[Samples]:
        if not self._per_position:
            yield samples_of(_CentredRows(self))
            return
        moments: dict[int, tuple[Floats, Floats]] = {}
        for row, columns in self.places:
            near = self._rows[row].tolist()
            moments = {r: moments[r] if r in moments else self._moments(r) for r in dict.fromkeys(near)}
            yield self._pooled(row, columns, [moments[r] for r in near])

    def centred(self, images: Features, row: int, columns: NDArray[np.intp]) -> Floats:
        """Features of images ``[m, rows, columns, d]`` at some positions of a row less their means: ``[m, p, d]``."""
        mean = self.mean[0] if self._shared_mean else self._pooled_means[row, columns]
        deviations: Floats = images[:, row, columns] - mean
        return deviations

    @property
    def images(self) -> Features:
        """The features that were given."""
        return self._features

    def _moments(self, row: int) -> tuple[Floats, Floats]:
        """Samples of a row's positions less their own mean ``[columns, n, d]``, and covariances ``[columns, d, d]``."""
        centred = np.ascontiguousarray((self._features[:, row] - self._means[row]).transpose(1, 0, 2))
        return centred, centred.transpose(0, 2, 1) @ centred / centred.shape[1]

    def _pooled(self, row: int, columns: NDArray[np.intp], moments: list[tuple[Floats, Floats]]) -> Samples:
        """Samples of a row whose only block is ``[p, side * side * n, d]``: neighbour by neighbour, the position itself
        in the middle.

        The covariance is the mean of the neighbours' own and of their means' deviations: as exact as from the samples,
        and cheaper, as each position's is computed once.
        """
        n, dim = self._features.shape[0], self._features.shape[3]
        near = self._columns[columns]
        means = self._means[self._rows[row]][:, near]  # [side, p, side, d]
        deviations = means - self._pooled_means[row, columns][:, None]
        block = np.empty((len(columns), self.side, self.side, n, dim))
        for k, (centred, _) in enumerate(moments):
            np.add(centred[near], deviations[k, :, :, None], out=block[:, k])
        own = np.sum([covariance for _, covariance in moments], 0) / self.side
        between = deviations.transpose(1, 0, 2, 3).reshape(len(columns), -1, dim)
        pooled = self.side * self.side
        covariance = own[near].mean(1) + between.transpose(0, 2, 1) @ between / pooled
        return Samples((block.reshape(len(columns), -1, dim),), n * pooled, covariance)


class _CentredRows:
    """All samples less the mean of their position or of all, ``[1, n * p, d]`` for each row of positions."""

    def __init__(self, grid: SampleGrid) -> None:
        self._grid = grid

    def __iter__(self) -> Iterator[Floats]:
        for row, columns in self._grid.places:
            centred = self._grid.centred(self._grid.images, row, columns)
            yield centred.reshape(1, -1, centred.shape[2])


def _neighbours(positions: int, side: int) -> NDArray[np.intp]:
    """Indices ``[positions, side]`` of each position's neighbours along an axis, itself in the middle."""
    reach = side // 2
    indices: NDArray[np.intp] = np.arange(positions)[:, None] + np.arange(-reach, reach + 1)
    return indices.clip(0, positions - 1)

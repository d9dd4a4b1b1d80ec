"""The samples that the Gaussians of a grid are fitted to: of one position, of its neighbours, or of all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.covariance import Floats, Regularisation, Samples, samples_of

Features: TypeAlias = "NDArray[np.floating[Any]]"
Region: TypeAlias = "NDArray[np.bool_]"
"""Positions that are inspected, bool ``[rows, columns]``, at least one.  What is fitted on ``p`` of them has the shape
of a grid with one row, ``[1, p, ...]``, in the order of the rows."""

Scope = Literal["shared", "per-position", "position-mean"]
"""Positions that share a Gaussian: all of them, none, or all, with an own mean at each position."""


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

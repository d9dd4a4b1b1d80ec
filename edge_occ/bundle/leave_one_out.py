"""Scores of normal images by Gaussians that were fitted without their part, in closed form.

Leaving out a part changes a covariance by few samples, so that no matrix is factored again for each part.  Let a
Gaussian have ``C = w S + k I`` with the covariance ``S`` of ``N`` samples, and let a part have ``r`` of them, whose
deviations from the mean are the rows of ``V`` and have the sum ``t``.  With ``M = N - r`` the mean of the others is
``mean - t / M``, and at the same ``w`` and ``k`` their matrix is

    C' = B - (w / M) V^T A V    with    B = w (N / M) S + k I    and    A = I + 1 1^T / M,

where ``B`` is the same for all parts with ``r`` samples.  A Gaussian of one position has a small ``r``, the part's
shots times the positions that it pools, and the Woodbury identity leaves a system of ``r`` equations a part: a sample
that deviates by ``y`` from the mean of the others has the score

    y B^-1 y^T + (w / M) u^T (A^-1 - (w / M) V B^-1 V^T)^-1 u    with    u = V B^-1 y^T    and    A^-1 = I - 1 1^T / N.

For the part's only sample this is ``(N / M)^2 q / (1 - c q)`` with ``q = v B^-1 v^T`` and ``c = w N / M^2``.

A Gaussian that all positions share loses more samples than it has dimensions, and ``C'`` itself is solved.  The only
difference from a refit is that shrinkage and floor stay those of all images.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from edge_occ.bundle.covariance import Floats, Samples, shrinkage, weighted, whiten_matrices
from edge_occ.bundle.gaussian import ONE_THREAD, require_regular
from edge_occ.bundle.sample_grid import Features, GaussianSettings, Region, SampleGrid

Integers = NDArray[np.int64]


def leave_one_out(
    features: Features,
    settings: GaussianSettings,
    *,
    parts: Integers | None = None,
    scored: Features | None = None,
    left_out: Integers | None = None,
    region: Region | None = None,
) -> Floats:
    """Score images by the Gaussians of all other parts.

    Args:
        features: of normal images of two parts at least, ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.
        parts: the part that each image shows, ``[n]``, from 0 without gaps; None: a different one each.
        scored: the images to score, ``[m, rows, columns, d]``; None: the normal images themselves.
        left_out: the part that each scored image is scored without, ``[m]``; None: ``parts``.
        region: the positions to fit on and to score; None: all.

    Returns:
        ``[m, rows, columns]``, or ``[m, 1, p]`` with a region of ``p`` positions; at least 0.

    Raises:
        ValueError: a single part, a regulariser that keeps directions instead of shrinking, or a trimmed fit, whose
            samples would change with every part.
        SingularCovariance: the regularised covariance is singular.
    """
    parts = np.arange(len(features)) if parts is None else parts
    scored = features if scored is None else scored
    left_out = parts[: len(scored)] if left_out is None else left_out
    if parts.max() < 1:
        raise ValueError("leaving one part out needs at least two")
    if settings.trim:
        raise ValueError("leaving one part out has no closed form for a trimmed fit: use folds")
    with threadpool_limits(**ONE_THREAD):
        grid = SampleGrid(features, settings, region)
        if settings.scope != "per-position":
            return _shared(grid, settings, parts, scored, left_out)
        rows = [
            _per_position(samples, settings, grid, parts, grid.centred(scored, *place), left_out)
            for samples, place in zip(grid, grid.places, strict=True)
        ]
    return np.concatenate(rows, 1).reshape(len(scored), *grid.shape)


def _by_shots(parts: Integers, left_out: Integers) -> Iterator[tuple[Integers, Integers, Integers]]:
    """Group parts by their number of shots.

    Yields:
        Images of the parts with one number of shots ``[k, shots]``, the scored images that leave one of them out, and
        which of the ``k`` each leaves out.
    """
    counts = np.bincount(parts)
    by_part = np.argsort(parts, kind="stable")
    first = np.cumsum(counts) - counts
    for shots in np.unique(counts):
        of_group = np.flatnonzero(counts == shots)
        images = by_part[first[of_group, None] + np.arange(shots)]
        scored = np.flatnonzero(counts[left_out] == shots)
        yield images, scored, np.searchsorted(of_group, left_out[scored])


def _per_position(
    samples: Samples,
    settings: GaussianSettings,
    grid: SampleGrid,
    parts: Integers,
    deviations: Floats,
    left_out: Integers,
) -> Floats:
    """Scores ``[m, p]`` of the positions of a row, from deviations ``[m, p, d]`` from their means."""
    (block,) = samples.blocks
    positions, _, dim = block.shape
    pooled = grid.side * grid.side
    block = block.reshape(positions, pooled, len(parts), dim)
    weight, identity = shrinkage(samples, settings.regularisation)
    scores = np.empty(deviations.shape[:2])
    for images, scored, which in _by_shots(parts, left_out):
        lost = pooled * images.shape[1]
        kept = samples.count - lost
        whitening, singular = whiten_matrices(
            weighted(samples.covariance, weight * samples.count / kept, identity + grid.floor)
        )
        require_regular(singular, settings)
        of_parts = block[:, :, images].transpose(0, 2, 1, 3, 4).reshape(positions, -1, dim)
        whitened = (of_parts @ whitening.transpose(0, 2, 1)).reshape(positions, len(images), lost, dim)
        share = (weight / kept)[:, None, None, None]
        system = np.eye(lost) - 1 / samples.count - share * (whitened @ whitened.transpose(0, 1, 3, 2))
        others = deviations[scored].transpose(1, 0, 2) @ whitening.transpose(0, 2, 1)
        others += whitened.sum(2)[:, which] / kept
        products = whitened[:, which] @ others[..., None]  # [p, scored, lost, 1]
        gained = np.linalg.solve(system[:, which], products)
        scores[scored] = (np.square(others).sum(2) + share[..., 0, 0] * (products * gained).sum((2, 3))).T
    return scores


def _shared(
    grid: SampleGrid, settings: GaussianSettings, parts: Integers, scored: Features, left_out: Integers
) -> Floats:
    """Scores ``[m, *grid.shape]`` by a covariance of all positions."""
    (samples,) = grid
    n, positions, dim = len(parts), grid.shape[0] * grid.shape[1], samples.covariance.shape[1]
    weight, identity = shrinkage(samples, settings.regularisation)
    normal, others = (
        np.concatenate([grid.centred(images, *place) for place in grid.places], 1) for images in (grid.images, scored)
    )
    scores = np.empty((len(scored), positions))
    for images, of_group, which in _by_shots(parts, left_out):
        shots = images.shape[1]
        kept = samples.count - shots * positions
        (base,) = weighted(samples.covariance, weight * samples.count / kept, identity + grid.floor)
        for k, of_part in enumerate(images):
            lost = normal[of_part]  # [shots, positions, d]
            if settings.scope == "shared":
                total = lost.sum((0, 1))
                moved, total_scatter = total / kept, np.outer(total, total) / kept
            else:  # each position has a mean of its own, which loses the shots' samples of n
                totals = lost.sum(0)
                moved, total_scatter = totals / (n - shots), totals.T @ totals / (n - shots)
            flat = lost.reshape(-1, dim)
            without = base - weight[0] / kept * (flat.T @ flat + total_scatter)
            whitening, singular = whiten_matrices(without[None])
            require_regular(singular, settings)
            chosen = of_group[which == k]
            scores[chosen] = np.square((others[chosen] + moved) @ whitening[0].T).sum(2)
    return scores.reshape(len(scored), *grid.shape)

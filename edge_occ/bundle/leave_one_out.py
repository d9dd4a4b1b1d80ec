"""Scores of normal images by Gaussians that were fitted without them, in closed form.

Leaving out an image changes a covariance by few samples, so that no matrix is factored again for each image.  Let a
Gaussian have ``C = w S + k I`` with the covariance ``S`` of ``N`` samples, and let an image have ``r`` of them, whose
deviations from the mean are the rows of ``V`` and have the sum ``t``.  With ``M = N - r`` the mean of the others is
``mean - t / M``, and at the same ``w`` and ``k`` their matrix is

    C' = B - (w / M) (V^T V + t^T t / M)    with    B = w (N / M) S + k I,

where ``B`` is the same for all images.  A Gaussian of one position has a small ``r``, 1 or the positions that it pools,
and the Woodbury identity leaves a system of ``r`` equations an image.  For ``r = 1`` it is

    score = (N / M)^2 q / (1 - c q)    with    q = v^T B^-1 v    and    c = w N / M^2.

A Gaussian that all positions share loses more samples than it has dimensions, and ``C'`` itself is solved.  The only
difference from a refit is that shrinkage and floor stay those of all images.
"""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from edge_occ.bundle.covariance import Floats, Samples, shrinkage, weighted, whiten_matrices
from edge_occ.bundle.gaussian import ONE_THREAD, Features, GaussianSettings, SampleGrid, require_regular


def leave_one_out(features: Features, settings: GaussianSettings) -> Floats:
    """Score every image by the Gaussians of all others.

    Args:
        features: of two normal images at least, each of another part, ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.

    Returns:
        ``[n, rows, columns]``, at least 0.

    Raises:
        ValueError: a single image, a regulariser that keeps directions instead of shrinking, or a robust fit, whose
            samples would change with every image.
        SingularCovariance: the regularised covariance is singular.
    """
    if len(features) < 2:
        raise ValueError("leaving one image out needs at least two")
    if settings.trim:
        raise ValueError("leaving one image out has no closed form for a trimmed fit: use folds")
    with threadpool_limits(**ONE_THREAD):
        grid = SampleGrid(features, settings)
        if settings.scope != "per-position":
            return _shared(features, settings, grid)
        return np.stack([_per_position(samples, settings, grid, len(features)) for samples in grid], 1)


def _per_position(samples: Samples, settings: GaussianSettings, grid: SampleGrid, n: int) -> Floats:
    """Scores ``[n, columns]`` of a row of positions."""
    (block,) = samples.blocks
    columns, _, dim = block.shape
    lost = grid.side * grid.side
    kept = samples.count - lost
    weight, identity = shrinkage(samples, settings.regularisation)
    whitening, singular = whiten_matrices(
        weighted(samples.covariance, weight * samples.count / kept, identity + grid.floor)
    )
    require_regular(singular, settings)
    whitened = (block @ whitening.transpose(0, 2, 1)).reshape(columns, lost, n, dim).transpose(0, 2, 1, 3)
    products = whitened @ whitened.transpose(0, 1, 3, 2)  # [columns, n, lost, lost]
    # V^T V + t^T t / M = V^T (I + 1 1^T / M) V, and the inverse of that middle matrix is I - 1 1^T / N.
    system = np.eye(lost) - 1 / samples.count - (weight / kept)[:, None, None, None] * products
    middle = lost // 2
    deviation = np.full(lost, 1 / kept)
    deviation[middle] += 1  # the image's own sample, from the mean of the others
    right = (products @ deviation)[..., None]
    scores: Floats = np.linalg.solve(system, right)[:, :, middle, 0]
    return scores.T


def _shared(features: Features, settings: GaussianSettings, grid: SampleGrid) -> Floats:
    """Scores ``[n, rows, columns]`` by a covariance of all positions."""
    n, rows, columns, dim = features.shape
    (samples,) = grid
    kept = samples.count - rows * columns
    weight, identity = shrinkage(samples, settings.regularisation)
    (base,) = weighted(samples.covariance, weight * samples.count / kept, identity + grid.floor)
    share = weight[0] / kept
    scores = np.empty((n, rows, columns))
    for image in range(n):
        deviations = (features[image] - grid.mean).reshape(-1, dim)
        total = deviations.sum(0)
        if settings.scope == "shared":
            others = base - share * (deviations.T @ deviations + np.outer(total, total) / kept)
            deviations = deviations + total / kept
        else:  # each position has a mean of its own, which loses one of n samples
            others = base - share * n / (n - 1) * deviations.T @ deviations
            deviations = deviations * (n / (n - 1))
        whitening, singular = whiten_matrices(others[None])
        require_regular(singular, settings)
        scores[image] = np.square(deviations @ whitening[0].T).sum(1).reshape(rows, columns)
    return scores

"""Scores of normal images by heads that had not seen them, from which a threshold with a guarantee follows.

Every image is scored once, by a head that was fitted on the other folds; all shots of one part are in one fold.  The
threshold is the conformal quantile of these scores, one a part; see :mod:`edge_occ.bundle.conformal`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.common.progress import ProgressReport

Scorer = Callable[[Tensor, Tensor], Tensor]
"""Fits a head on the features ``[n, rows, columns, d]`` given first, scores those given second: ``[m, rows,
columns]``."""


def folds_of(n: int, folds: int, seed: int) -> Tensor:
    """Assign ``n`` images to folds, ``[n]``; at most ``n`` folds, whose sizes differ by one at most."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)) % min(folds, n)


def folds_of_parts(parts: Tensor, folds: int, seed: int) -> Tensor:
    """Assign images to folds, ``[n]``, by the part that they show: all shots of a part are in the same fold.

    Args:
        parts: which part each image shows, ``[n]``, from 0 without gaps.
        folds: how many; at most as many as there are parts.
        seed: of the assignment.
    """
    return folds_of(int(parts.max()) + 1, folds, seed)[parts]


def one_score_a_part(scores: NDArray[np.float64], parts: Tensor) -> NDArray[np.float64]:
    """Return the highest score of each part's shots, in the order of the parts.

    A further part is seen once, so that one shot taken by chance would do; the highest errs on the side of fewer
    alarms.
    """
    highest = np.full(int(parts.max()) + 1, -np.inf)
    np.maximum.at(highest, parts.numpy(), scores)
    return highest


def held_out_grids(
    features: Tensor,
    fold_of: Tensor,
    score: Scorer,
    scored: Tensor | None = None,
    progress: ProgressReport | None = None,
) -> Tensor:
    """Score every image with a head that was fitted without it.

    Args:
        features: of all normal images, ``[n, rows, columns, d]``.
        fold_of: the fold of each, ``[n]``; shots of one part share a fold.
        score: fits and scores.
        scored: the features that are scored, if not those that are fitted on: of the first ``m`` images, in the same
            order.
        progress: advanced by one for each fold.

    Returns:
        Scores of every position ``[m, rows, columns]``, in the order of the images; ``m`` is ``n`` without ``scored``.
    """
    scored = features if scored is None else scored
    grids = torch.empty(scored.shape[:3])
    for fold in range(int(fold_of.max()) + 1):
        held_out = fold_of == fold
        of_scored = held_out[: len(scored)]
        grids[of_scored] = score(features[~held_out], scored[of_scored])
        if progress is not None:
            progress.advance()
    return grids

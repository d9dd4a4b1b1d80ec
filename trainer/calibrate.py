"""A threshold that is a promise: calibrated on scores of normal images that the head had not seen.

Every image is scored once by a head fitted on the other folds.  The threshold is the conformal quantile of these
scores, so that the verdict "anomalous" is the same as a conformal p-value of at most the declared false-alarm rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import beta
from torch import Tensor

from edge_occ.manifest import Calibration
from edge_occ.progress import ProgressReport

Scorer = Callable[[Tensor, Tensor], Tensor]
"""Fits a head on the features ``[n, rows, columns, d]`` given first, returns image scores ``[m]`` of those given
second."""


def held_out_scores(
    features: Tensor, folds: int, seed: int, score: Scorer, scored: Tensor | None = None
) -> NDArray[np.float64]:
    """Score every image with a head that was fitted without it.

    Args:
        features: of all normal images, ``[n, rows, columns, d]``.
        folds: number of refits, at most ``n``.
        seed: of the assignment of images to folds.
        score: fits and scores.
        scored: the features that are scored, if not those that are fitted on: of the same images, in the same order.

    Returns:
        Image scores ``[n]``, in the order of the images.
    """
    n = len(features)
    scored = features if scored is None else scored
    folds = min(folds, n)
    fold_of = torch.randperm(n, generator=torch.Generator().manual_seed(seed)) % folds
    scores = torch.empty(n, dtype=torch.float64)
    with ProgressReport("calibrating", folds) as progress:
        for fold in range(folds):
            held_out = fold_of == fold
            scores[held_out] = score(features[~held_out], scored[held_out]).double()
            progress.advance()
    return scores.numpy()


def calibrate(scores: NDArray[np.float64], false_alarm_rate: float) -> Calibration:
    """Choose the threshold for a declared false-alarm rate.

    With ``n`` held-out scores the threshold is the k-th smallest, ``k = ceil((n + 1)(1 - rate))``.  The share of
    further good parts above it then follows a Beta(n + 1 - k, k) distribution, whose mean is at most the rate and
    whose 95 % quantile is the bound that is recorded.  If ``n`` is too small for the rate, k stops at ``n``: the
    largest score is the threshold and the promise is ``1 / (n + 1)``, not the declared rate.
    """
    n = len(scores)
    wanted = math.ceil(round((n + 1) * (1 - false_alarm_rate), 9))
    k = min(wanted, n)
    return Calibration(
        false_alarm_rate=false_alarm_rate,
        threshold=float(np.sort(scores)[k - 1]),
        n=n,
        expected=(n + 1 - k) / (n + 1),
        upper_95=float(beta.ppf(0.95, n + 1 - k, k)),
        certified=wanted <= n,
        median=float(np.median(scores)),
    )

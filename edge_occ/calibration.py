"""The rule by which a threshold follows from held-out scores, for the trainer that sets it and the device that checks
that a bundle's threshold is this one.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_occ.manifest import Calibration

_CONFIDENCE = 0.95


def calibrate(scores: NDArray[np.float64], false_alarm_rate: float) -> Calibration:
    """Choose the threshold for a declared false-alarm rate.

    With ``n`` held-out scores the threshold is the k-th smallest, ``k = ceil((n + 1)(1 - rate))``.  The share of
    further good parts above it then follows a Beta(n + 1 - k, k) distribution, whose mean is at most the rate and
    whose 95 % quantile is the bound that is recorded.  If ``n`` is too small for the rate, k stops at ``n``: the
    largest score is the threshold and the promise is ``1 / (n + 1)``, not the declared rate.

    Args:
        scores: ``[n]``, at least one, finite.
        false_alarm_rate: between 0 and 0.5.
    """
    n = len(scores)
    wanted = math.ceil(round((n + 1) * (1 - false_alarm_rate), 9))
    k = min(wanted, n)
    return Calibration(
        false_alarm_rate=false_alarm_rate,
        threshold=float(np.sort(scores)[k - 1]),
        n=n,
        expected=(n + 1 - k) / (n + 1),
        upper_95=_beta_quantile(_CONFIDENCE, n + 1 - k, k),
        certified=wanted <= n,
        median=float(np.median(scores)),
    )


@lru_cache
def _beta_quantile(probability: float, a: int, b: int) -> float:
    """Quantile of a Beta distribution of whole parameters, to the last digits.

    Its distribution function at ``x`` is the probability that a binomial variable of ``a + b - 1`` trials with chance
    ``x`` is at least ``a`` (Clopper and Pearson, 1934), which needs no library.
    """
    n, below = a + b - 1, np.arange(a)
    choices = np.array([math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in range(a)])
    low, high = 0.0, 1.0
    while low < (x := (low + high) / 2) < high:
        fewer = np.exp(choices + below * math.log(x) + (n - below) * math.log1p(-x)).sum()
        low, high = (low, x) if 1 - fewer >= probability else (x, high)
    return high

"""The rule by which a threshold follows from held-out scores, for the trainer that sets it and the device that checks
that a bundle's threshold is this one.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Calibration

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


@dataclass(frozen=True)
class Verdict:
    """What one score means.

    Attributes:
        score: image score.
        p_value: share of good parts expected to score at least this high, in ``(0, 1]``.
        threshold: score above which a frame is anomalous.
        anomalous: the verdict.
    """

    score: float
    p_value: float
    threshold: float
    anomalous: bool


class ConformalThreshold:
    """Turns scores into verdicts by the held-out scores of normal images.

    Args:
        held_out: calibration scores, in any order, at least one.
        threshold: the calibrated threshold.
    """

    def __init__(self, held_out: Sequence[float], threshold: float) -> None:
        if not held_out:
            raise ValueError("a judge needs at least one calibration score")
        self._sorted = sorted(held_out)
        self.threshold = threshold

    def p_value(self, score: float) -> float:
        """Conformal p-value ``(1 + #{held out >= score}) / (n + 1)``."""
        n = len(self._sorted)
        return (1 + n - bisect_left(self._sorted, score)) / (n + 1)

    def verdict(self, score: float) -> Verdict:
        """Verdict of one score."""
        return Verdict(score, self.p_value(score), self.threshold, score > self.threshold)

"""The conformal threshold: calibration from held-out scores, p-values and verdicts.

The trainer sets a threshold by this rule, and a reader checks that a bundle's threshold follows from its scores.  Where
the declared rate can be certified, a score is above the threshold exactly if its p-value is at most the rate.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Calibration

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Verdict:
    """A score with its meaning.

    Attributes:
        score: image score.
        p_value: share of good parts that is expected to score at least this high, in ``(0, 1]``.
        threshold: score above which a frame is anomalous.
        anomalous: whether the score is above the threshold.
        review_threshold: score above which a frame that is not anomalous is shown to a person; ``None``: no review
            band.
    """

    score: float
    p_value: float
    threshold: float
    anomalous: bool
    review_threshold: float | None = None

    @property
    def name(self) -> Literal["normal", "review", "anomalous"]:
        """The verdict in one word."""
        if self.anomalous:
            return "anomalous"
        in_band = self.review_threshold is not None and self.score > self.review_threshold
        return "review" if in_band else "normal"


class ConformalThreshold:
    """A calibrated threshold with the held-out scores that it follows from.

    Args:
        held_out: scores of normal images by heads that had not seen them, in any order, at least one.
        threshold: score above which a frame is anomalous.
        review_threshold: score above which a frame that is not anomalous is shown to a person, at most
            ``threshold``; ``None``: no review band.

    Raises:
        ValueError: there is no held-out score, or the review threshold is above the threshold.
    """

    def __init__(self, held_out: Sequence[float], threshold: float, review_threshold: float | None = None) -> None:
        if not held_out:
            raise ValueError("a conformal threshold needs at least one held-out score")
        if review_threshold is not None and review_threshold > threshold:
            raise ValueError(f"a review threshold of at most {threshold}, not {review_threshold}")
        self._sorted = sorted(held_out)
        self.threshold, self.review_threshold = threshold, review_threshold

    @property
    def held_out(self) -> Sequence[float]:
        """The held-out scores, ascending."""
        return tuple(self._sorted)

    def p_value(self, score: float) -> float:
        """Return the conformal p-value ``(1 + #{held out >= score}) / (n + 1)``."""
        n = len(self._sorted)
        return (1 + n - bisect_left(self._sorted, score)) / (n + 1)

    def verdict(self, score: float) -> Verdict:
        """Return the verdict on one score."""
        return Verdict(score, self.p_value(score), self.threshold, score > self.threshold, self.review_threshold)


def calibrate(scores: NDArray[np.float64], false_alarm_rate: float) -> Calibration:
    """Return the threshold for a declared false-alarm rate, with its guarantee.

    With ``n`` held-out scores the threshold is the k-th smallest, ``k = ceil((n + 1)(1 - rate))``.  The share of
    further good parts above it then follows a Beta(n + 1 - k, k) distribution, whose mean is at most the rate and
    whose 95 % quantile is the recorded bound.  If ``n`` is too small for the rate, ``k`` is ``n``: the largest score
    is the threshold, and the guarantee is ``1 / (n + 1)`` instead of the declared rate.

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
        upper_95=beta_quantile(_CONFIDENCE, n + 1 - k, k),
        certified=wanted <= n,
        median=float(np.median(scores)),
    )


def max_false_alarms(images: int, share: float) -> int:
    """Return the largest number of alarms among good images that does not contradict a share of alarms.

    A binomial variable of ``images`` trials with chance ``share`` exceeds it with a probability of at most 5 %.

    Args:
        images: at least 0.
        share: upper bound of the share of good images above the threshold, 0 to 1.
    """
    probabilities = np.array([math.comb(images, k) * share**k * (1 - share) ** (images - k) for k in range(images + 1)])
    return int(np.flatnonzero(probabilities.cumsum() >= _CONFIDENCE)[0])


@lru_cache
def beta_quantile(probability: float, a: int, b: int) -> float:
    """Quantile of a Beta distribution with integer parameters of at least 1, to the last digits.

    Its distribution function at ``x`` is the probability that a binomial variable of ``a + b - 1`` trials with chance
    ``x`` is at least ``a`` (Clopper and Pearson, 1934), which needs no library.
    """
    n, below = a + b - 1, np.arange(a)
    combinations = np.array([math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in range(a)])
    low, high = 0.0, 1.0
    while low < (x := (low + high) / 2) < high:
        fewer = np.exp(combinations + below * math.log(x) + (n - below) * math.log1p(-x)).sum()
        low, high = (low, x) if 1 - fewer >= probability else (x, high)
    return high

"""Good images that look odd by their held-out scores.

An image is odd if the logarithm of its score is more than 3.5 robust deviations (1.4826 times the median absolute
deviation) above the median of all good images: the modified z-score of Iglewicz and Hoaglin ("How to Detect and Handle
Outliers", 1993) with their limit.  Logarithms, as scores are squared distances, whose deviation grows with them.  The
rule needs no defect and marks none of images that are all alike, unlike a fixed share of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_DEVIATIONS = 3.5
_NORMAL_MAD = 1.4826
"""Standard deviations of a normal distribution in a median absolute deviation."""


@dataclass(frozen=True)
class Oddness:
    """The place of one image among all good ones.

    Attributes:
        image: its number, from 0.
        rank: 1 for the highest score.
        score: held-out image score.
        p_value: share of the good images, itself among them, that score at least as high: ``(0, 1]``.
        deviations: robust deviations of the logarithm of the score from the median.
        odd: whether that is more than :data:`MAX_DEVIATIONS`.
    """

    image: int
    rank: int
    score: float
    p_value: float
    deviations: float

    @property
    def odd(self) -> bool:
        """True if the image is odd."""
        return self.deviations > MAX_DEVIATIONS


def by_oddness(scores: NDArray[np.float64]) -> list[Oddness]:
    """Return all images, the oddest first; equal scores in the order of the images.

    Args:
        scores: held-out scores ``[n]``, at least one, at least 0.
    """
    deviations = robust_deviations(scores)
    ranked = np.argsort(-scores, kind="stable")
    at_least = len(scores) - np.searchsorted(np.sort(scores), scores)
    return [
        Oddness(int(i), rank, float(scores[i]), float(at_least[i] / len(scores)), float(deviations[i]))
        for rank, i in enumerate(ranked, 1)
    ]


def robust_deviations(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the modified z-score of each logarithm: ``[n]``; 0 where most scores are equal."""
    logs = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    deviation = _NORMAL_MAD * np.median(np.abs(logs - np.median(logs)))
    if deviation == 0:
        return np.zeros(len(logs))
    return np.asarray((logs - np.median(logs)) / deviation, dtype=np.float64)

"""Several heads as one: weights by the spread of their scores, and one score for all shots of a part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.covariance import Floats

_LEAST_SPREAD = 1e-12


def weights_by_spread(given: Sequence[float] | None, scores: Floats) -> Floats:
    """Return the weight of each head, divided by the spread of its scores: ``[heads]``.

    Args:
        given: weights of the settings, at least 0, not all 0; None: equal.
        scores: held-out image scores, ``[heads, n]``.
    """
    weights = np.ones(len(scores)) if given is None else np.array(given, dtype=np.float64)
    divided: Floats = weights / weights.sum() / np.maximum(scores.std(1), _LEAST_SPREAD)
    return divided


def one_score_a_part(scores: Floats, parts: NDArray[np.int64]) -> Floats:
    """Return the highest score of each part's shots, in the order of the parts.

    A further part is seen once, so that one shot taken by chance would do; the highest errs on the side of fewer
    alarms.

    Args:
        scores: of all shots, ``[n]``.
        parts: the part that each shows, ``[n]``, from 0 without gaps.
    """
    highest = np.full(int(parts.max()) + 1, -np.inf)
    np.maximum.at(highest, parts, scores)
    return highest


def map_factor(peaks: Floats, parts: NDArray[np.int64], threshold: float, false_alarm_rate: float) -> float:
    """Return the factor by which fused maps have the units of the image score: with it, the share of held-out good
    parts whose map is above the threshold anywhere is the declared one.

    Args:
        peaks: highest value of each held-out fused map, ``[n]``.
        parts: the part that each shows, ``[n]``.
        threshold: of the image score.
        false_alarm_rate: declared.
    """
    return threshold / calibrate(one_score_a_part(peaks, parts), false_alarm_rate).threshold

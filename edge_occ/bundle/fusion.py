"""Several heads as one: weights by the spread of their scores, and one score for all shots and copies of a part."""

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
    """Return the highest score of each part's shots, or tiles, in the order of the parts.

    Args:
        scores: of all shots, ``[n]``.
        parts: the part that each shows, ``[n]``, from 0 without gaps.
    """
    highest = np.full(int(parts.max()) + 1, -np.inf)
    np.maximum.at(highest, parts, scores)
    return highest


def pooled(scores: Floats) -> Floats:
    """Return ``n`` scores that stand for ``n`` parts seen under several conditions; those of one condition as they are.

    Of ``c`` conditions they are every ``c``-th of all scores, from the highest on.  A further part, seen under one of
    the conditions taken by chance, scores above the k-th of them with a chance of at most ``k / (n + 1)``, as if each
    part had been seen once: the quantiles of pooled scores of Dunn, Wasserman and Ramdas (2018, arXiv 1809.07441), with
    the guarantee of Lee, Barber and Willett (2023, arXiv 2306.06342) for exchangeable parts.  Under one condition
    alone, the chance may be up to ``c`` times that.  The 95 % bound of a calibration is exact for one condition; for
    several it is not proven.

    Args:
        scores: of each condition and part, ``[c, n]``.
    """
    conditions = len(scores)
    ordered: Floats = scores[0] if conditions == 1 else np.sort(scores, axis=None)[::-conditions]
    return ordered


def map_factor(peaks: Floats, threshold: float, false_alarm_rate: float) -> float:
    """Return the factor by which fused maps have the units of the image score: with it, the share of held-out good
    parts whose map is above the threshold anywhere is the declared one.

    Args:
        peaks: highest value of the held-out fused maps of each part, ``[n]``.
        threshold: of the image score.
        false_alarm_rate: declared.
    """
    return threshold / calibrate(peaks, false_alarm_rate).threshold

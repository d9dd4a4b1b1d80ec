"""Power: the share of synthetic defects found at the declared false-alarm rate.

A threshold for a rate of 1 % is one of the few highest scores of some hundred normal parts, so that the share found at
this rate alone is noisy.  The objective is the mean share over the declared rate and some multiples of it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import calibrate

MULTIPLES = (1, 2, 5, 10)
"""Multiples of the declared rate; those of 0.5 and above are left out."""


def share_of_rates(normal: NDArray[np.float64], defects: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Return the share of the rates at which each defect is found, ``[m]``, 0 to 1.

    Args:
        normal: held-out scores, one a normal part, ``[n]``.
        defects: scores of defects ``[m]``.
        rate: declared false-alarm rate.
    """
    rates = [rate * multiple for multiple in MULTIPLES if rate * multiple < 0.5]
    shares: NDArray[np.float64] = np.mean([found(normal, defects, of) for of in rates], 0)
    return shares


def found(normal: NDArray[np.float64], defects: NDArray[np.float64], rate: float) -> NDArray[np.bool_]:
    """Return which defects score above the threshold for a false-alarm rate, ``[m]``; arguments as above."""
    above: NDArray[np.bool_] = defects > calibrate(normal, rate).threshold
    return above


def mean_over_kinds(values: NDArray[np.float64], kind: NDArray[np.int64]) -> float:
    """Return the mean of values ``[m]`` in which every kind of defect ``[m]`` counts the same."""
    return float(np.mean([values[kind == k].mean() for k in np.unique(kind)]))


def indistinguishable(best: NDArray[np.float64], other: NDArray[np.float64], kind: NDArray[np.int64]) -> bool:
    """Return whether a candidate is within one standard error of the best (Hastie, Tibshirani and Friedman, 2009,
    section 7.10), from the differences on the same defects.

    Args:
        best: value of each defect with the best candidate, ``[m]``.
        other: the same with another candidate.
        kind: kind of each defect ``[m]``.
    """
    difference = best - other
    kinds = np.unique(kind)
    variance = sum(difference[kind == k].var() / (kind == k).sum() for k in kinds) / len(kinds) ** 2
    return mean_over_kinds(difference, kind) <= math.sqrt(variance)

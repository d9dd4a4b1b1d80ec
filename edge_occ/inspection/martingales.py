"""Sequential tests by betting: evidence against "nothing has changed", whenever one looks at it.

A bet multiplies its capital by a factor whose mean is at most 1 while nothing has changed.  Each test here is the mean
of the bets that begin at every frame of a horizon (a Shiryaev-Roberts sum divided by the horizon), so that a change is
found wherever in the horizon it happens.  By Doob's inequality its value reaches ``1 / alpha`` within a horizon with a
probability of at most ``alpha``.  At the end of the horizon the test begins anew, which bounds its memory too.

Vovk et al., "Retrain or not retrain: conformal test martingales for change-point detection" (2021); Shin, Ramdas and
Rinaldo, "E-detectors" (2022).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from statistics import fmean

import numpy as np

TOLERANCE = 0.05
"""Change of the mean p-value, 0.5 without any, that is not worth an alarm.

It corresponds to a shift of normally distributed scores by a sixth of their standard deviation, which the weather in a
factory brings about, and a head that was fitted on all images instead of all but one."""

_STAKES = (0.5, 1.0, 1.8)
"""Slopes of the bets on p-values.  A factor ``1 + slope (p - 1/2) - slope tolerance`` is never negative up to 1.8."""

_MULTIPLES = (2, 4)
"""Shares of anomalous frames that are bet on, as multiples of the usual share: not one or two anomalous frames in a row
are enough for an alarm by default, but eleven or twelve."""


class ShiftTest:
    """A test whether scores still are like those of a reference: a conformal test martingale.

    The p-value of a score is its rank among the reference and all scores of the horizon before it.  If scores and
    reference are exchangeable, these p-values are independent and uniform, for a reference of any size: a small one
    costs power, not false alarms.  p-values among the reference alone would follow its own distribution, and any test
    with them would raise an alarm in the end.

    Args:
        reference: scores while nothing had changed, in any order, possibly none.
        falling: also bet that scores fall; otherwise only that they rise.
        horizon: scores after which the test begins anew, at least 1.
        chance: gives the place of a score among equal ones.
    """

    def __init__(
        self, reference: Sequence[float], horizon: int, chance: np.random.Generator, *, falling: bool = False
    ) -> None:
        self._reference = sorted(reference)
        self._horizon, self._chance = horizon, chance
        self._slopes = [-stake for stake in _STAKES] + [stake for stake in _STAKES if falling]
        self.restart()

    def restart(self) -> None:
        """Begin a horizon."""
        self._seen = list(self._reference)
        self._capital = [0.0] * len(self._slopes)

    def step(self, score: float) -> float:
        """Take a score and return the value of the test, 0 at least."""
        if len(self._seen) - len(self._reference) == self._horizon:
            self.restart()
        p = self._rank(score)
        factors = [1 + slope * (p - 0.5) - abs(slope) * TOLERANCE for slope in self._slopes]
        self._capital = _bet(self._capital, factors)
        return fmean(self._capital) / self._horizon

    def _rank(self, score: float) -> float:
        """Return the share of the scores so far, this one included, that are higher; it is random among equal ones."""
        first, last = bisect_left(self._seen, score), bisect_right(self._seen, score)
        higher, equal = len(self._seen) - last, last - first + 1
        p = (higher + self._chance.random() * equal) / (len(self._seen) + 1)
        insort(self._seen, score)
        return float(p)


class ShareTest:
    """A test whether more than the usual share of frames is anomalous.

    Args:
        usual: share of anomalous frames that is no change, between 0 and 0.25.
        horizon: frames after which the test begins anew, at least 1.
    """

    def __init__(self, usual: float, horizon: int) -> None:
        self._anomalous = [float(multiple) for multiple in _MULTIPLES]
        self._normal = [(1 - multiple * usual) / (1 - usual) for multiple in _MULTIPLES]
        self._horizon = horizon
        self.restart()

    def restart(self) -> None:
        """Begin a horizon."""
        self._frames = 0
        self._capital = [0.0] * len(self._normal)

    def step(self, anomalous: bool) -> float:
        """Take a verdict and return the value of the test, 0 at least."""
        if self._frames == self._horizon:
            self.restart()
        self._frames += 1
        self._capital = _bet(self._capital, self._anomalous if anomalous else self._normal)
        return fmean(self._capital) / self._horizon


def _bet(capital: Sequence[float], factors: Sequence[float]) -> list[float]:
    """Add a new bet of 1 to the capital of each kind, and multiply it by its factor.

    The result is limited to a value far above any level of alarm, and far from overflow.
    """
    return [min((own + 1) * factor, 1e100) for own, factor in zip(capital, factors, strict=True)]

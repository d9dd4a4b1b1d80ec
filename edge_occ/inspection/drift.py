"""Drift: whether the guarantee of the threshold still holds at the line.

A guarantee holds for parts and pictures like those that it was calibrated on.  Light, focus and material change, so a
run tests without end whether frames are still like them.  Three tests (:mod:`edge_occ.inspection.martingales`) bet:

- scores of normal frames are higher than the bundle's held-out scores;
- scores of normal frames are higher or lower than those of the first frames of the run;
- more than the usual share of the frames is anomalous.

Defects alone raise no alarm.  The first two tests leave out frames above the threshold, and of the held-out scores
those at or above it: below an order statistic, further good frames and the others are still exchangeable.  The usual
share of the third test is that of ``usual_defects`` and the upper bound of the false alarms.  Only rising scores are
compared with the held-out ones, since the highest of several shots of a part is held out, but a frame is one shot.

The tests are about frames that are independent, as those of different parts are.  Where several frames show one part,
one in ``every`` so many is tested.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from edge_occ.bundle.conformal import ConformalThreshold, Verdict
from edge_occ.bundle.manifest import Calibration
from edge_occ.inspection.martingales import ShareTest, ShiftTest
from edge_occ.inspection.result import Inspection

_SEED = 0
"""Of the places of a score among equal ones.  Fixed, so that the same scores give the same figures."""

_MAX_BINS, _MIN_BIN = 10, 20
"""Bins of the stability index at most, and held-out scores in each at least."""

_MAX_USUAL = 0.2
"""Usual share of anomalous frames at most, whatever the guarantee: a calibration on few images has a high bound."""

_ADVICE = "check light, focus and position of the camera; if the change is wanted: edge-occ recalibrate"


class DriftConfig(BaseModel):
    """Tests whether frames are still like those that the threshold was calibrated on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(True, description="whether there are any")
    alpha: float = Field(
        0.001, gt=0, lt=1, description="chance of a false alarm in a horizon: 0.001 in 1000 is one in a million frames"
    )
    horizon: int = Field(1000, ge=50, le=100_000, description="frames after which the tests begin anew")
    warm_up: int = Field(
        200, ge=20, le=100_000, description="first frames of the run that later ones are compared with"
    )
    every: int = Field(
        1,
        ge=1,
        description="one frame in so many is tested: as many as show one part, about 30 for a free-running camera",
    )
    usual_defects: float = Field(0.05, gt=0, le=0.1, description="share of defective parts that is no drift")
    window: int = Field(200, ge=50, le=100_000, description="latest frames of anomalous_share and drift_psi")


@dataclass(frozen=True)
class DriftState:
    """The latest figures.

    Attributes:
        alarm: whether there is an alarm.
        log10: evidence of a change, as the decimal logarithm of the tests' mean, 0 at least; during an alarm its
            highest since the alarm began.
        stability_index: population stability index of the window's scores against the held-out ones; 0 until the
            window is full.
        anomalous_share: share of the window's frames that are anomalous.
        declared_rate: share of good parts that the guarantee expects to be anomalous.
    """

    alarm: bool = False
    log10: float = 0.0
    stability_index: float = 0.0
    anomalous_share: float = 0.0
    declared_rate: float = 0.0


class DriftMonitor:
    """A sink that tests for drift.

    Args:
        threshold: gives the verdicts of the run.
        calibration: of that threshold, with its guarantee.
        config: of the tests.
        notify: called with a sentence when an alarm begins and when it ends.

    Attributes:
        state: the latest figures; may be read in any thread.
    """

    name = "drift"

    def __init__(
        self,
        threshold: ConformalThreshold,
        calibration: Calibration,
        config: DriftConfig,
        notify: Callable[[str], None],
    ) -> None:
        self._config, self._notify = config, notify
        self.reset(threshold, calibration)

    def reset(self, threshold: ConformalThreshold, calibration: Calibration, config: DriftConfig | None = None) -> None:
        """Begin anew with another threshold, as with another bundle, and other settings; an alarm ends unreported."""
        self._config = config or self._config
        self._window = _Window(threshold.held_out, self._config.window)
        self._tests = _Tests(
            threshold, min(self._config.usual_defects + calibration.upper_95, _MAX_USUAL), self._config
        )
        self._declared_rate, self._frames, self._quiet = calibration.expected, 0, 0
        self.state = DriftState(declared_rate=calibration.expected)

    def publish(self, inspection: Inspection) -> None:
        """Take an inspected frame."""
        self.take(inspection.verdict)

    def fault(self, fault: object) -> None:
        """Do nothing: a frame that was not inspected has no score."""

    def finish(self, inspection: Inspection) -> None:
        """Do nothing: there is no new frame."""

    def take(self, verdict: Verdict) -> None:
        """Take the verdict on a frame."""
        self._frames += 1
        if not self._config.enabled or (self._frames - 1) % self._config.every:
            return
        self._window.take(verdict)
        value, why = self._tests.step(verdict)
        evidence = max(math.log10(value), 0.0) if value > 0 else 0.0
        alarm = self.state.alarm
        if value >= 1 / self._config.alpha:
            # From the references again: scores after the change would soon pass for usual ones.
            self._tests.restart()
            self._quiet, alarm = 0, True
        elif alarm:
            self._quiet += 1
            alarm = self._quiet < self._config.horizon
        shown = max(evidence, self.state.log10) if alarm and self.state.alarm else evidence
        begins, ends = alarm and not self.state.alarm, self.state.alarm and not alarm
        self.state = DriftState(
            alarm, shown, self._window.stability_index, self._window.anomalous_share, self._declared_rate
        )
        if begins:
            self._notify(f"drift: {why} (evidence 10^{evidence:.1f}); {_ADVICE}")
        if ends:
            self._notify(f"drift: no evidence in {self._quiet} frames, the alarm ends")


class _Tests:
    """The three tests; their mean is one."""

    def __init__(self, threshold: ConformalThreshold, usual: float, config: DriftConfig) -> None:
        self._usual, self._config, self._chance = usual, config, np.random.default_rng(_SEED)
        below = threshold.held_out[: bisect_left(threshold.held_out, threshold.threshold)]
        self._risen = ShiftTest(below, config.horizon, self._chance)
        self._share = ShareTest(usual, config.horizon)
        self._first: list[float] = []
        self._changed: ShiftTest | None = None
        self._values = dict.fromkeys(self._reasons(), 0.0)

    def step(self, verdict: Verdict) -> tuple[float, str]:
        """Take a verdict; return the mean of the tests and the reason for the highest of them in words."""
        risen, changed, share = self._reasons()
        self._values[share] = self._share.step(verdict.anomalous)
        if not verdict.anomalous:
            self._values[risen] = self._risen.step(verdict.score)
            if self._changed is not None:
                self._values[changed] = self._changed.step(verdict.score)
            else:
                self._warm_up(verdict.score)
        return sum(self._values.values()) / len(self._values), max(self._values, key=self._values.__getitem__)

    def restart(self) -> None:
        """Begin a horizon."""
        for test in (self._risen, self._share, self._changed):
            if test is not None:
                test.restart()
        self._values = dict.fromkeys(self._values, 0.0)

    def _warm_up(self, score: float) -> None:
        self._first.append(score)
        if len(self._first) == self._config.warm_up:
            self._changed = ShiftTest(self._first, self._config.horizon, self._chance, falling=True)
            self._first = []

    def _reasons(self) -> tuple[str, str, str]:
        return (
            "normal frames score higher than the held-out images of the bundle",
            f"scores of normal frames have changed since the first {self._config.warm_up} of the run",
            f"more than {100 * self._usual:.2g} % of the frames are anomalous",
        )


class _Window:
    """The latest scores, in bins that each hold the same share of the held-out scores."""

    def __init__(self, held_out: Sequence[float], size: int) -> None:
        bins = max(2, min(_MAX_BINS, len(held_out) // _MIN_BIN))
        self._edges = [float(edge) for edge in np.quantile(held_out, np.arange(1, bins) / bins)]
        expected = [0] * bins
        for score in held_out:
            expected[bisect_left(self._edges, score)] += 1
        self._expected, self._counts = _shares(expected), [0] * bins
        self._latest: deque[tuple[int, bool]] = deque(maxlen=size)
        self._anomalous = 0

    def take(self, verdict: Verdict) -> None:
        if len(self._latest) == self._latest.maxlen:
            place, anomalous = self._latest[0]
            self._counts[place] -= 1
            self._anomalous -= anomalous
        place = bisect_left(self._edges, verdict.score)
        self._latest.append((place, verdict.anomalous))
        self._counts[place] += 1
        self._anomalous += verdict.anomalous

    @property
    def anomalous_share(self) -> float:
        return self._anomalous / len(self._latest) if self._latest else 0.0

    @property
    def stability_index(self) -> float:
        if len(self._latest) < (self._latest.maxlen or 0):
            return 0.0
        pairs = zip(_shares(self._counts), self._expected, strict=True)
        return sum((now - before) * math.log(now / before) for now, before in pairs)


def _shares(counts: Sequence[int]) -> list[float]:
    """Return counts as shares; half a count more in each bin keeps the logarithm finite."""
    total = sum(counts) + 0.5 * len(counts)
    return [(count + 0.5) / total for count in counts]

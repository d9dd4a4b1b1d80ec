"""Thresholds of a bundle for other false-alarm rates than its own, and a review band below the threshold.

The held-out scores of a bundle give a threshold with its guarantee for every rate that their number can certify.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_occ.bundle.bundle import Bundle
from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.bundle.guarantee import guarantee, images_needed, lowest_certified_rate, share_in_words
from edge_occ.bundle.manifest import Calibration
from edge_occ.common.errors import InputError

_MAX_RATE = 0.5
"""Share of good parts that may be called anomalous, below."""

RATES = (0.01, 0.02, 0.05, 0.1)
"""Rates of the operating points that ``edge-occ inspect`` shows."""


class DecisionConfig(BaseModel):
    """Shares of good parts that are rejected, and shown to a person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reject_rate: float | None = Field(
        None, ge=1e-6, lt=0.5, description="share of good parts that may be called anomalous; null is the bundle's"
    )
    review_rate: float | None = Field(
        None,
        ge=1e-6,
        lt=0.5,
        description="share of good parts that may be called anomalous or review; null is no review band",
    )

    @model_validator(mode="after")
    def _ordered(self) -> DecisionConfig:
        if self.reject_rate is not None and self.review_rate is not None and self.review_rate <= self.reject_rate:
            raise ValueError(
                f"review_rate must be larger than reject_rate, not {self.review_rate} with {self.reject_rate}"
            )
        return self


@dataclass(frozen=True)
class Decision:
    """The thresholds of a run.

    Attributes:
        held_out: scores ``[n]`` of normal images by heads that had not seen them.
        reject: threshold above which a frame is anomalous, with its guarantee.
        review: the same of frames that are anomalous or for review; ``None``: no review band.
    """

    held_out: NDArray[np.float64]
    reject: Calibration
    review: Calibration | None

    @cached_property
    def threshold(self) -> ConformalThreshold:
        """The rule that turns scores into verdicts."""
        review = None if self.review is None else self.review.threshold
        return ConformalThreshold(self.held_out.tolist(), self.reject.threshold, review)

    def guarantee(self) -> str:
        """Return the expected false alarms and frames for review in plain words."""
        if self.review is None:
            return guarantee(self.reject)
        alarms = round(1000 * self.reject.expected)
        shown = round(1000 * (self.review.expected - self.reject.expected))
        return (
            f"{guarantee(self.reject)} Expect about {alarms} false alarm{'s' * (alarms != 1)} and {shown} "
            f"frame{'s' * (shown != 1)} to review in 1000 good parts."
        )


def decide(bundle: Bundle, config: DecisionConfig) -> Decision:
    """Return the thresholds that settings ask of a bundle.

    Raises:
        InputError: the held-out scores cannot certify a rate, or leave no room for a review band.
    """
    held_out = bundle.held_out
    reject = bundle.manifest.calibration
    if config.reject_rate is not None:
        reject = _certified(held_out, config.reject_rate, "reject_rate")
    if config.review_rate is None:
        return Decision(held_out, reject, None)
    return _with_band(held_out, reject, _certified(held_out, config.review_rate, "review_rate"))


def reject_at_rate(decision: Decision, rate: float) -> Decision:
    """Return the thresholds with another share of good parts that is rejected.

    Raises:
        InputError: the held-out scores cannot certify it, or it leaves no room for the review band.
    """
    return _with_reject(decision, _certified(decision.held_out, rate, "reject_rate"))


def reject_above(decision: Decision, threshold: float) -> Decision:
    """Return the thresholds with another score above which a frame is anomalous.

    The guarantee is that of the next lower held-out score.

    Raises:
        InputError: it is above all held-out scores or leaves half of them above, where they certify nothing, or it
            leaves no room for the review band.
    """
    scores = np.sort(decision.held_out)
    n, below = len(scores), int(np.searchsorted(scores, threshold, side="right"))
    rate = (n + 1 - below) / (n + 1)
    if threshold > scores[-1] or rate >= _MAX_RATE:
        lowest = scores[min(math.floor((n + 1) * (1 - _MAX_RATE)), n - 1)]
        raise InputError(
            f"a threshold from {lowest:.6g} to {scores[-1]:.6g}, as the {n} held-out scores certify",
            f"{threshold:.6g}",
            "use one of these, or a rate",
        )
    return _with_reject(decision, calibrate(decision.held_out, rate).model_copy(update={"threshold": threshold}))


def _with_reject(decision: Decision, reject: Calibration) -> Decision:
    if decision.review is None:
        return Decision(decision.held_out, reject, None)
    return _with_band(decision.held_out, reject, decision.review)


def _with_band(held_out: NDArray[np.float64], reject: Calibration, review: Calibration) -> Decision:
    if review.expected <= reject.expected:
        n = len(held_out)
        lowest = _typed(reject.expected + 1 / (n + 1))
        raise InputError(
            f"a decision.review_rate of at least {lowest}, where {n} held-out images reject "
            f"{share_in_words(reject.expected)}",
            f"{review.false_alarm_rate}",
            f"use --set decision.review_rate={lowest} or more, or leave it out",
        )
    return Decision(held_out, reject, review)


def operating_points(held_out: NDArray[np.float64]) -> tuple[Calibration, ...]:
    """Return threshold and guarantee for each of :data:`RATES`, certified or not.

    Args:
        held_out: scores ``[n]`` of normal images by heads that had not seen them.
    """
    return tuple(calibrate(held_out, rate) for rate in RATES)


def _certified(held_out: NDArray[np.float64], rate: float, name: str) -> Calibration:
    calibration = calibrate(held_out, rate)
    if not calibration.certified:
        lowest = _typed(lowest_certified_rate(calibration.n))
        raise InputError(
            f"a decision.{name} of at least {lowest}, the lowest that {calibration.n} held-out images certify",
            f"{rate}",
            f"use --set decision.{name}={lowest} or more, or train with at least {images_needed(rate)} images",
        )
    return calibration


def _typed(rate: float) -> str:
    """Return a rate to type, rounded up to four significant digits."""
    unit = 10.0 ** (np.floor(np.log10(rate)) - 3)
    return f"{np.ceil(round(rate / unit, 6)) * unit:.4g}"

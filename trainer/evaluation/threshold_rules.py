"""Rules by which other programs set a threshold, applied to the scores of one bundle, and what each finds.

The rules of others are applied to held-out scores of good images, the only ones that a bundle has.  Programs that take
the scores of the very images that the model was fitted on get lower thresholds, and more false alarms, than are shown
here.  Rules with a mean, a deviation or a factor also depend on the scale of the scores, here squared distances.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge_occ.bundle.conformal import calibrate
from trainer.evaluation.detection import ImageScores
from trainer.evaluation.metrics import best_f1

_SUPERADD_FACTOR = 1.421


@dataclass(frozen=True)
class ThresholdRule:
    """A rule for the threshold.

    Attributes:
        name: short name, for tables and files.
        label: the rule in words.
        threshold: maps scores to the threshold above which an image is anomalous; ``None`` where it is not defined.
    """

    name: str
    label: str
    threshold: Callable[[ImageScores], float | None]


@dataclass(frozen=True)
class RuleResult:
    """Defects and false alarms of a threshold.

    Attributes:
        threshold: the threshold; ``None`` where the rule is not defined, and with it the shares.
        found: share of the defects above it; ``None`` without defects.
        false_alarms: share of the good test images above it; ``None`` without any.
    """

    rule: ThresholdRule
    threshold: float | None
    found: float | None
    false_alarms: float | None


def _f1_maximum(scores: ImageScores) -> float | None:
    best = best_f1(
        np.repeat([False, True], [len(scores.good), len(scores.defects)]), np.concatenate([scores.good, scores.defects])
    )
    # The lowest anomalous score is above the threshold.
    return None if best is None else float(np.nextafter(best[1], -np.inf))


def _conformal(rate: float) -> ThresholdRule:
    return ThresholdRule(
        f"conformal-{100 * rate:g}",
        f"**edge-occ**: conformal quantile for {rate:.0%}",
        lambda scores: calibrate(scores.held_out, rate).threshold,
    )


RULES = (
    _conformal(0.01),
    _conformal(0.05),
    ThresholdRule("f1", "highest F1 on these test images (anomalib; needs the defects)", _f1_maximum),
    ThresholdRule("maximum", "highest held-out score", lambda scores: float(scores.held_out.max())),
    ThresholdRule(
        "3-sigma",
        "mean + 3 standard deviations (byoe-vision, of training scores)",
        lambda scores: float(scores.held_out.mean() + 3 * scores.held_out.std()),
    ),
    ThresholdRule("median", "median (AnomaVision without defects)", lambda scores: float(np.median(scores.held_out))),
    ThresholdRule(
        "superadd",
        f"95 % quantile times {_SUPERADD_FACTOR} (SuperADD in anomalib 2.6)",
        lambda scores: float(_SUPERADD_FACTOR * np.quantile(scores.held_out, 0.95)),
    ),
)
"""Ours at two rates, and those of others."""


def apply_rule(rule: ThresholdRule, scores: ImageScores) -> RuleResult:
    """Apply a rule to the scores of a bundle and a labelled set."""
    threshold = rule.threshold(scores)
    if threshold is None:
        return RuleResult(rule, None, None, None)
    found, alarms = (float((of > threshold).mean()) if len(of) else None for of in (scores.defects, scores.good))
    return RuleResult(rule, threshold, found, alarms)

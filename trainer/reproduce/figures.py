"""The figures of an evaluation by name, as the tables show them."""

from __future__ import annotations

from collections.abc import Mapping

from trainer.evaluation.detection import RATES, detect_at
from trainer.evaluation.result import Evaluation
from trainer.evaluation.threshold_rules import RULES, apply_rule

AT_THE_THRESHOLD: Mapping[str, str] = {
    "found_1": "found at 1 %",
    "false_alarms_1": "false alarms",
    "auroc_held_out": "AUROC, held-out",
}
"""Headings of the figures that come before all others."""

THRESHOLD_NOTE = (
    "Found and false alarms are the shares of the defective and of the good test images above the threshold for a "
    "false-alarm rate of 1 %, which follows from held-out training scores (with fewer than 99 of them it is the "
    "highest). AUROC, held-out: defects against these scores."
)

_METRICS = ("image_auroc", "pixel_auroc", "aupro", "aupimo", "f1_max")


def figures(evaluation: Evaluation) -> dict[str, float | None]:
    """Return detection at each of :data:`~trainer.evaluation.detection.RATES`, and the metrics, as fractions of 1.

    For a rate of 1 % the names are ``found_1``, ``found_1_lower`` and ``found_1_upper`` (its 95 % interval),
    ``false_alarms_1``, and ``promised_1`` and ``promised_1_upper`` (the guarantee).
    """
    values: dict[str, float | None] = {}
    for rate in RATES:
        at, percent = detect_at(evaluation.scores, rate), f"{100 * rate:g}"
        lower, upper = at.interval or (None, None)
        values |= {
            f"found_{percent}": at.share,
            f"found_{percent}_lower": lower,
            f"found_{percent}_upper": upper,
            f"false_alarms_{percent}": at.false_alarms / at.false_alarms_of if at.false_alarms_of else None,
            f"promised_{percent}": at.calibration.expected,
            f"promised_{percent}_upper": at.calibration.upper_95,
        }
    values["auroc_held_out"] = evaluation.scores.auroc_held_out
    return values | {name: getattr(evaluation, name) for name in _METRICS}


def rule_figures(evaluation: Evaluation) -> dict[str, float | None]:
    """Return what each rule of :mod:`trainer.evaluation.threshold_rules` finds: ``f1.found``, ``f1.false_alarms``."""
    values: dict[str, float | None] = {}
    for rule in RULES:
        result = apply_rule(rule, evaluation.scores)
        values |= {f"{rule.name}.found": result.found, f"{rule.name}.false_alarms": result.false_alarms}
    return values

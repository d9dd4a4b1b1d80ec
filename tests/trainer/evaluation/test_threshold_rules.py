from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from edge_occ.bundle.conformal import calibrate
from trainer.evaluation.detection import ImageScores
from trainer.evaluation.threshold_rules import RULES, apply_rule

BY_NAME = {rule.name: rule for rule in RULES}
# Few distinct values, so that ties are common.
VALUES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=12).map(np.array)


def threshold(name: str, scores: ImageScores) -> float | None:
    return apply_rule(BY_NAME[name], scores).threshold


def test_the_rules_on_known_scores():
    held_out = np.arange(1.0, 201.0)
    scores = ImageScores(held_out, np.array([100.0, 150.0]), np.array([120.0, 201.0]))
    assert threshold("maximum", scores) == 200
    assert threshold("median", scores) == 100.5
    assert threshold("3-sigma", scores) == pytest.approx(100.5 + 3 * np.sqrt((200**2 - 1) / 12))
    assert threshold("superadd", scores) == pytest.approx(1.421 * (1 + 0.95 * 199))
    for rate in (0.01, 0.05):
        assert threshold(f"conformal-{100 * rate:g}", scores) == calibrate(held_out, rate).threshold


@given(VALUES, VALUES)
def test_no_threshold_has_a_higher_f1_than_the_one_chosen_with_defects(good, defects):
    scores = ImageScores(np.zeros(1), good, defects)
    labels, values = np.repeat([0, 1], [len(good), len(defects)]), np.concatenate([good, defects])
    chosen = threshold("f1", scores)
    assert chosen is not None
    best = max(f1_score(labels, values >= candidate) for candidate in values)
    assert f1_score(labels, values > chosen) == pytest.approx(best)


@given(VALUES, VALUES, VALUES)
def test_shares_are_of_the_images_above_the_threshold(held_out, good, defects):
    scores = ImageScores(held_out, good, defects)
    for rule in RULES:
        result = apply_rule(rule, scores)
        assert result.found == pytest.approx(sum(score > result.threshold for score in defects) / len(defects))
        assert result.false_alarms == pytest.approx(sum(score > result.threshold for score in good) / len(good))


def test_undefined_shares_are_none():
    nothing = np.empty(0)
    assert apply_rule(BY_NAME["f1"], ImageScores(np.ones(9), np.ones(3), nothing)).threshold is None
    result = apply_rule(BY_NAME["maximum"], ImageScores(np.ones(9), nothing, np.array([2.0])))
    assert (result.found, result.false_alarms) == (1, None)

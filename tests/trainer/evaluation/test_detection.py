from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import roc_auc_score

from edge_occ.bundle.conformal import calibrate
from trainer.evaluation.detection import (
    HEADINGS,
    ImageScores,
    binomial_interval,
    detect,
    table_lines,
    what_is_certified,
)


def scores_of(held_out: int, good: int, defects: int, seed: int = 0) -> ImageScores:
    chance = np.random.default_rng(seed)
    return ImageScores(chance.normal(10, 2, held_out), chance.normal(10, 2, good), chance.normal(15, 4, defects))


@given(st.integers(1, 300).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_interval_is_clopper_and_pearson_s(counts):
    count, of = counts
    lower, upper = binomial_interval(count, of)
    assert lower == pytest.approx(beta.ppf(0.025, count, of - count + 1) if count else 0, rel=1e-7)
    assert upper == pytest.approx(beta.ppf(0.975, count + 1, of - count) if count < of else 1, rel=1e-7)
    assert lower <= count / of <= upper


def test_counts_are_those_above_the_bundle_s_own_thresholds():
    scores = scores_of(199, 40, 60)
    found = detect(scores, calibrate(scores.held_out, 0.03))
    assert [entry.calibration.false_alarm_rate for entry in found] == [0.03, 0.01, 0.02, 0.05, 0.1]
    for entry, rate in zip(found, (0.03, 0.01, 0.02, 0.05, 0.1), strict=True):
        threshold = sorted(scores.held_out)[round(200 * (1 - rate)) - 1]
        assert entry.calibration.threshold == threshold
        assert (entry.found, entry.of) == (sum(score > threshold for score in scores.defects), 60)
        assert (entry.false_alarms, entry.false_alarms_of) == (sum(score > threshold for score in scores.good), 40)
        content = json.loads(json.dumps(entry.as_json(), allow_nan=False))
        assert content["share"] == round(entry.found / 60, 6)
        assert content["lower_95"] < content["share"] < content["upper_95"]
        assert content["certified"]
        assert (content["promised"], content["lowest_certified_rate"]) == (rate, 1 / 200)
        assert content["promised_upper_95"] == pytest.approx(calibrate(scores.held_out, rate).upper_95, abs=1e-6)
    assert 20 < found[1].found <= found[2].found <= found[3].found <= found[4].found


@pytest.mark.parametrize("declared", [0.01, 0.05])
def test_the_declared_rate_is_first_and_not_repeated(declared):
    scores = scores_of(150, 5, 5)
    rates = [entry.calibration.false_alarm_rate for entry in detect(scores, calibrate(scores.held_out, declared))]
    assert rates[0] == declared
    assert sorted(rates) == [0.01, 0.02, 0.05, 0.1]


def test_a_score_at_the_threshold_is_not_found():
    held_out = np.arange(99.0)
    scores = ImageScores(held_out, np.array([98.0]), np.array([98.0, 98.5]))
    (first, *_) = detect(scores, calibrate(held_out, 0.01))
    assert (first.found, first.false_alarms) == (1, 0)


def test_the_held_out_auroc_is_against_the_training_images():
    scores = scores_of(50, 0, 30)
    labels = np.repeat([0, 1], [50, 30])
    expected = roc_auc_score(labels, np.concatenate([scores.held_out, scores.defects]))
    assert scores.auroc_held_out == pytest.approx(expected)
    assert scores_of(50, 5, 0).auroc_held_out is None


def test_without_defects_shares_are_undefined_and_false_alarms_are_counted():
    scores = scores_of(150, 20, 0)
    for entry in detect(scores, calibrate(scores.held_out, 0.01)):
        content = entry.as_json()
        assert [content[name] for name in ("share", "lower_95", "upper_95")] == [None] * 3
        assert (content["found"], content["of"], content["false_alarms_of"]) == (0, 0, 20)
        assert entry.cells()[1:3] == ("no defects", "-")


def test_rates_beyond_the_images_are_named_with_the_one_that_they_certify():
    scores = scores_of(30, 4, 8)
    found = detect(scores, calibrate(scores.held_out, 0.01))
    assert [entry.as_json()["certified"] for entry in found] == [False, False, True, True]
    assert {entry.as_json()["lowest_certified_rate"] for entry in found} == {round(1 / 31, 6)}
    assert what_is_certified(found) == (
        "30 held-out images certify no rate below 1 in 31: for 1 in 100 and 1 in 50, the highest held-out score is the "
        "threshold."
    )
    assert [entry.cells()[0] for entry in found] == [
        "1 in 100, not certified", "1 in 50, not certified", "1 in 20", "1 in 10",
    ]  # fmt: skip
    many = scores_of(300, 4, 8)
    assert what_is_certified(detect(many, calibrate(many.held_out, 0.01))) is None


def test_the_table_is_aligned():
    held_out = np.arange(209.0)
    scores = ImageScores(held_out, np.zeros(20), np.repeat([0.0, 500.0], [18, 45]))
    lines = list(table_lines(detect(scores, calibrate(held_out, 0.01))))
    assert len(lines) == 5
    starts = [lines[0].index(heading) for heading in HEADINGS]
    for cell, start in zip(("1 in 100", "45 of 63", "71.4% (58.7% to 82.1%)", "0 of 20", "1 in 105, 1 in 44"), starts,
                           strict=True):  # fmt: skip
        assert lines[1].startswith(cell, start)

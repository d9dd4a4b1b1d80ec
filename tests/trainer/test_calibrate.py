"""The threshold's promise."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.decision import Judge
from trainer.calibrate import calibrate, held_out_scores


@given(
    scores=st.lists(st.integers(0, 30).map(float), min_size=8, max_size=300),
    rate=st.sampled_from([0.005, 0.01, 0.02, 0.05, 0.1, 0.3]),
)
def test_the_verdict_is_the_p_value_where_the_rate_can_be_certified(scores, rate):
    calibration = calibrate(np.array(scores), rate)
    judge = Judge(scores, calibration.threshold)
    assert calibration.certified == ((len(scores) + 1) * rate >= 1 - 1e-9)
    for score in np.arange(-1, 32, 0.5):
        verdict = judge.judge(float(score))
        if calibration.certified:
            assert verdict.anomalous == (verdict.p_value <= rate + 1e-12)
        else:
            assert verdict.anomalous == (score > max(scores))


def test_the_promise_holds_on_the_average_and_the_bound_in_95_of_100():
    """Simulated: many factories calibrate on n parts each; their true false-alarm rates are known exactly."""
    generator = np.random.default_rng(0)
    for n, rate in ((199, 0.01), (99, 0.05), (60, 0.01)):
        true_rates, bound = [], 0.0
        for _ in range(3000):
            calibration = calibrate(generator.random(n), rate)
            true_rates.append(1 - calibration.threshold)
            bound = calibration.upper_95
        assert np.mean(true_rates) == pytest.approx(calibration.expected, rel=0.06)
        assert np.mean(np.array(true_rates) <= bound) == pytest.approx(0.95, abs=0.015)


def test_too_few_images_are_told():
    calibration = calibrate(np.arange(60.0), 0.01)
    assert not calibration.certified
    assert calibration.threshold == 59
    assert calibration.expected == pytest.approx(1 / 61)


def test_every_image_is_scored_once_by_a_head_that_did_not_see_it():
    features = torch.arange(23.0).view(23, 1, 1, 1)
    seen = []

    def score(train, held_out):
        assert not set(train.flatten().tolist()) & set(held_out.flatten().tolist())
        assert len(train) + len(held_out) == 23
        seen.extend(held_out.flatten().tolist())
        return held_out.flatten() * 10

    scores = held_out_scores(features, 5, 0, score)
    assert sorted(seen) == list(range(23))
    assert scores.tolist() == [10.0 * i for i in range(23)]


def test_more_folds_than_images_is_leaving_one_out():
    sizes = []
    held_out_scores(torch.zeros(4, 1, 1, 1), 10, 0, lambda train, held: sizes.append(len(held)) or held.flatten())
    assert sizes == [1, 1, 1, 1]


def test_other_features_of_the_same_images_are_scored_by_the_same_heads():
    def score(train, held):
        return held.flatten() - train.mean()

    features = torch.arange(12.0).view(12, 1, 1, 1)
    found = held_out_scores(features, 4, 0, score, features + 100)
    assert found == pytest.approx(held_out_scores(features, 4, 0, score) + 100)

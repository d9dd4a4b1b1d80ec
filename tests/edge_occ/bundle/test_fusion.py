"""Weights of several heads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.fusion import map_factor, one_score_a_part, pooled, weights_by_spread


def test_heads_are_measured_by_their_own_spread():
    scores = np.array([[1.0, 3, 1, 3], [10, 10, 30, 30], [5, 5, 5, 5]])
    weights = weights_by_spread((1, 3, 0), scores)
    np.testing.assert_allclose(weights, [0.25 / 1, 0.75 / 10, 0])
    np.testing.assert_allclose(weights_by_spread(None, scores[:2]), [0.5, 0.05])


def test_a_part_has_the_highest_score_of_its_shots():
    assert one_score_a_part(np.array([1.0, 5, 2, 7]), np.array([0, 1, 0, 1])).tolist() == [2, 7]


def test_maps_have_as_many_false_alarms_as_scores():
    peaks = np.random.default_rng(0).gamma(2, 1, 30)
    factor = map_factor(peaks, 8.0, 0.1)
    assert (factor * peaks > 8 * (1 + 1e-9)).sum() == 3 - 1
    assert factor == pytest.approx(8 / calibrate(peaks, 0.1).threshold)


def test_scores_of_one_condition_stay_as_they_are():
    assert pooled(np.array([[3.0, 1, 2]])).tolist() == [3, 1, 2]


def test_scores_of_several_conditions_are_thinned_from_the_highest_on():
    assert pooled(np.array([[1.0, 2, 9], [8, 3, 7]])).tolist() == [9, 7, 2]


@given(
    st.tuples(st.integers(1, 4), st.integers(3, 12)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.integers(0, 30).map(float))
    ),
    st.sampled_from((0.1, 0.2, 0.3, 0.45)),
)
def test_a_further_part_under_any_condition_raises_an_alarm_as_rarely_as_is_promised(scores, rate):
    """Every part is the further one in turn: with exchangeable parts that mean is the chance, exactly."""
    conditions, parts = scores.shape
    alarms, expected = 0, 0.0
    for part in range(parts):
        calibration = calibrate(pooled(np.delete(scores, part, axis=1)), rate)
        alarms += int((scores[:, part] > calibration.threshold).sum())
        expected = calibration.expected
    assert alarms <= expected * conditions * parts + 1e-9

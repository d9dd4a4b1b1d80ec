"""Weights of several heads."""

import numpy as np
import pytest

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.fusion import map_factor, one_score_a_part, weights_by_spread


def test_heads_are_measured_by_their_own_spread():
    scores = np.array([[1.0, 3, 1, 3], [10, 10, 30, 30], [5, 5, 5, 5]])
    weights = weights_by_spread((1, 3, 0), scores)
    np.testing.assert_allclose(weights, [0.25 / 1, 0.75 / 10, 0])
    np.testing.assert_allclose(weights_by_spread(None, scores[:2]), [0.5, 0.05])


def test_a_part_has_the_highest_score_of_its_shots():
    assert one_score_a_part(np.array([1.0, 5, 2, 7]), np.array([0, 1, 0, 1])).tolist() == [2, 7]


def test_maps_have_as_many_false_alarms_as_scores():
    peaks, parts = np.random.default_rng(0).gamma(2, 1, 60), np.arange(60) // 2
    factor = map_factor(peaks, parts, 8.0, 0.1)
    assert (one_score_a_part(factor * peaks, parts) > 8 * (1 + 1e-9)).sum() == 3 - 1
    assert factor == pytest.approx(8 / calibrate(one_score_a_part(peaks, parts), 0.1).threshold)

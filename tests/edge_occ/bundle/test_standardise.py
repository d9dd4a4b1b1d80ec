"""Standardised scores against loops over positions and images."""

import numpy as np
import pytest

from edge_occ.bundle.standardise import MIN_DEVIATION, OFFSET, log_scale, standardise_held_out

REGION = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [0, 0, 0, 1]], bool)


def naive(scores, region):
    """Mean and deviation ``[p]``, of scores ``[n, p]``."""
    places = np.argwhere(region)
    logs = np.log(1 + scores)
    means, deviations = [], []
    for place in places:
        near = [k for k, other in enumerate(places) if np.abs(place - other).max() <= 1]
        means.append(np.mean([logs[:, k].mean() for k in near]))
        deviations.append(max(MIN_DEVIATION, np.sqrt(np.mean([logs[:, k].var() for k in near]))))
    return np.array(means), np.array(deviations)


@pytest.mark.parametrize("region", [None, REGION], ids=["whole", "region"])
def test_each_position_is_measured_by_its_neighbourhood(region):
    inside = np.ones((3, 4), bool) if region is None else region
    shape = (20, 3, 4) if region is None else (20, 1, int(inside.sum()))
    scores = np.random.default_rng(0).gamma(2, 30, shape)
    mean, deviation = naive(scores.reshape(20, -1), inside)
    scale = log_scale(scores, region)
    np.testing.assert_allclose(scale.mean.reshape(-1), mean)
    np.testing.assert_allclose(scale.deviation.reshape(-1), deviation)
    expected = np.maximum((np.log(1 + scores.reshape(20, -1)) - mean) / deviation + OFFSET, 0)
    np.testing.assert_allclose(scale.apply(scores).reshape(20, -1), expected)


def test_a_part_is_standardised_without_its_own_images():
    generator = np.random.default_rng(1)
    parts = np.array([0, 1, 1, 2, 3, 3])
    held_out, scored = generator.gamma(2, 30, (6, 1, 6)), generator.gamma(2, 30, (3, 1, 6))
    left_out = np.array([1, 3, 1])
    found = standardise_held_out(held_out, parts, scored, left_out, REGION)
    for k, part in enumerate(left_out):
        expected = log_scale(held_out[parts != part], REGION).apply(scored[k : k + 1])
        np.testing.assert_allclose(found[k], expected[0])


def test_scores_that_never_vary_are_not_divided_by_zero():
    scale = log_scale(np.full((5, 2, 2), 3.0))
    assert (scale.deviation == MIN_DEVIATION).all()
    np.testing.assert_allclose(scale.apply(np.full((1, 2, 2), 3.0)), OFFSET)

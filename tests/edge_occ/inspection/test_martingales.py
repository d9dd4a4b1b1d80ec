"""Tests by betting: against a naive version over the whole history, and on data of which the truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_occ.inspection.martingales import TOLERANCE, ShareTest, ShiftTest

SLOPES = [-0.5, -1.0, -1.8]


def naive_mean_of_bets(factors, horizon):
    """The mean over the kinds of bets, of all bets begun at a frame of the horizon, each the product since then."""
    bets = [np.prod(factors[begin:], axis=0) for begin in range(len(factors))]
    return float(np.mean(np.sum(bets, axis=0)) / horizon)


def naive_shift(reference, scores, horizon, slopes, seed):
    chance, values = np.random.default_rng(seed), []
    for i, score in enumerate(scores):
        begin = i - i % horizon
        if i == begin:
            factors = []
        others = [*reference, *scores[begin:i]]
        higher, equal = sum(o > score for o in others), sum(o == score for o in others)
        p = (higher + chance.random() * (equal + 1)) / (len(others) + 1)
        factors.append([1 + slope * (p - 0.5) - abs(slope) * TOLERANCE for slope in slopes])
        values.append(naive_mean_of_bets(factors, horizon))
    return values


SCORE = st.integers(0, 9).map(float)


@settings(max_examples=50)
@given(st.lists(SCORE, max_size=8), st.lists(SCORE, max_size=20), st.integers(1, 9), st.booleans())
def test_a_shift_test_follows_the_naive_version(reference, scores, horizon, falling):
    test = ShiftTest(reference, horizon, np.random.default_rng(5), falling=falling)
    slopes = SLOPES + [-slope for slope in SLOPES if falling]
    assert [test.step(score) for score in scores] == pytest.approx(naive_shift(reference, scores, horizon, slopes, 5))


@settings(max_examples=50)
@given(st.lists(st.booleans(), max_size=20), st.integers(1, 9), st.sampled_from([0.02, 0.05, 0.2]))
def test_a_share_test_follows_the_naive_version(verdicts, horizon, usual):
    test = ShareTest(usual, horizon)
    shares = np.array([2 * usual, 4 * usual])
    for i, anomalous in enumerate(verdicts):
        chosen = verdicts[i - i % horizon : i + 1]
        factors = [shares / usual if v else (1 - shares) / (1 - usual) for v in chosen]
        assert test.step(anomalous) == pytest.approx(naive_mean_of_bets(factors, horizon))


def highest(test, values):
    return max(test.step(value) for value in values)


@pytest.mark.parametrize("reference", [0, 5, 40])
def test_a_small_reference_causes_no_more_false_alarms_than_stated(reference):
    """Reference and scores of one distribution; the level 1/alpha is reached in a share of alpha at most."""
    chance = np.random.default_rng(0)
    streams = [
        highest(
            ShiftTest(chance.normal(size=reference).tolist(), 100, chance, falling=True),
            chance.normal(size=100).tolist(),
        )
        for _ in range(100)
    ]
    for alpha in (0.5, 0.2, 0.05):
        assert np.mean(np.array(streams) >= 1 / alpha) <= alpha


def test_the_usual_share_causes_no_more_false_alarms_than_stated():
    chance = np.random.default_rng(0)
    streams = [highest(ShareTest(0.05, 200), (chance.random(200) < 0.05).tolist()) for _ in range(200)]
    for alpha in (0.5, 0.2, 0.05):
        assert np.mean(np.array(streams) >= 1 / alpha) <= alpha


def test_a_shift_is_found_in_the_direction_asked_for():
    chance = np.random.default_rng(0)
    reference, risen = chance.normal(size=100).tolist(), (chance.normal(size=200) + 2).tolist()
    fallen = [-score for score in risen]
    assert highest(ShiftTest(reference, 200, chance), risen) > 1000
    assert highest(ShiftTest(reference, 200, chance), fallen) < 1
    assert highest(ShiftTest(reference, 200, chance, falling=True), fallen) > 1000


def test_evidence_is_finite_however_long_a_change_lasts():
    test = ShareTest(0.05, 5000)
    assert 1e90 < highest(test, [True] * 5000) < 1e100


def test_equal_scores_are_no_evidence():
    chance = np.random.default_rng(0)
    assert highest(ShiftTest([1.0] * 50, 300, chance, falling=True), [1.0] * 300) < 1

"""The threshold: its guarantee, p-values and verdicts."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import ConformalThreshold, Verdict, calibrate, max_false_alarms


@given(
    scores=st.lists(st.integers(0, 30).map(float), min_size=8, max_size=300),
    rate=st.sampled_from([0.005, 0.01, 0.02, 0.05, 0.1, 0.3]),
)
def test_the_verdict_is_the_p_value_where_the_rate_can_be_certified(scores, rate):
    calibration = calibrate(np.array(scores), rate)
    threshold = ConformalThreshold(scores, calibration.threshold)
    assert calibration.certified == ((len(scores) + 1) * rate >= 1 - 1e-9)
    for score in np.arange(-1, 32, 0.5):
        verdict = threshold.verdict(float(score))
        if calibration.certified:
            assert verdict.anomalous == (verdict.p_value <= rate + 1e-12)
        else:
            assert verdict.anomalous == (score > max(scores))


def test_the_guarantee_holds_on_average_and_the_bound_in_95_of_100():
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


def test_too_few_images_are_reported():
    calibration = calibrate(np.arange(60.0), 0.01)
    assert not calibration.certified
    assert calibration.threshold == 59
    assert calibration.expected == pytest.approx(1 / 61)


@pytest.mark.train
@given(n=st.integers(1, 3000), rate=st.floats(0.0005, 0.49))
def test_the_bound_is_the_quantile_of_the_beta_distribution(n, rate):
    from scipy.stats import beta

    calibration = calibrate(np.arange(float(n)), rate)
    above = round(calibration.expected * (n + 1))
    assert calibration.threshold == n - above
    assert calibration.upper_95 == pytest.approx(beta.ppf(0.95, above, n + 1 - above), rel=1e-8)


def test_bounds_that_are_known():
    """Nothing above the threshold: ``1 - 0.05^(1/n)``; half of one image: 0.95 itself."""
    assert calibrate(np.arange(1.0), 0.01).upper_95 == pytest.approx(0.95)
    assert calibrate(np.arange(60.0), 0.01).upper_95 == pytest.approx(1 - 0.05 ** (1 / 60), rel=1e-12)


# Few distinct values, so that ties are the rule and not the exception.
scores = st.integers(0, 12).map(lambda n: n / 4) | st.floats(0, 1e6)


def naive_p_value(held_out, score):
    return Fraction(1 + sum(s >= score for s in held_out), len(held_out) + 1)


@given(st.lists(scores, min_size=1, max_size=40), scores)
def test_p_value_is_the_conformal_one(held_out, score):
    threshold = ConformalThreshold(held_out, threshold=1.0)
    assert threshold.p_value(score) == float(naive_p_value(held_out, score))
    assert 0 < threshold.p_value(score) <= 1


@given(st.lists(scores, min_size=1, max_size=40), st.lists(scores, min_size=2, max_size=2))
def test_a_higher_score_never_has_a_higher_p_value(held_out, pair):
    threshold = ConformalThreshold(held_out, threshold=1.0)
    low, high = sorted(pair)
    assert threshold.p_value(high) <= threshold.p_value(low)


@given(st.lists(scores, min_size=1, max_size=40), scores, st.fractions(0, 1))
def test_above_the_calibrated_threshold_means_p_value_at_most_alpha(held_out, score, alpha):
    rank = math.ceil((len(held_out) + 1) * (1 - alpha))
    threshold = math.inf if rank > len(held_out) else -math.inf if rank == 0 else sorted(held_out)[rank - 1]
    verdict = ConformalThreshold(held_out, threshold).verdict(score)
    assert verdict.anomalous == (naive_p_value(held_out, score) <= alpha)
    assert verdict == Verdict(score, float(naive_p_value(held_out, score)), threshold, verdict.anomalous)


def test_a_score_at_the_threshold_is_normal():
    assert not ConformalThreshold([1.0, 2.0, 3.0], threshold=3.0).verdict(3.0).anomalous
    assert ConformalThreshold([1.0, 2.0, 3.0], threshold=3.0).verdict(math.nextafter(3.0, 4)).anomalous


def test_the_calibration_scores_are_not_sorted_in_place():
    held_out = [3.0, 1.0, 2.0]
    ConformalThreshold(held_out, 1.0)
    assert held_out == [3.0, 1.0, 2.0]


def test_a_threshold_without_held_out_scores_is_refused():
    with pytest.raises(ValueError, match="at least one held-out score"):
        ConformalThreshold([], 1.0)


@pytest.mark.parametrize(("images", "share", "most"), [(0, 0.03, 0), (5, 0.03, 1), (20, 0.03, 2), (20, 0.25, 8)])
def test_false_alarms_that_do_not_contradict_a_share(images, share, most):
    assert max_false_alarms(images, share) == most
    draws = np.random.default_rng(0).binomial(images, share, 100_000)
    assert (draws > most).mean() <= 0.052
    assert most == 0 or (draws > most - 1).mean() > 0.048

"""The threshold's promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import ConformalThreshold, calibrate


@given(
    scores=st.lists(st.integers(0, 30).map(float), min_size=8, max_size=300),
    rate=st.sampled_from([0.005, 0.01, 0.02, 0.05, 0.1, 0.3]),
)
def test_the_verdict_is_the_p_value_where_the_rate_can_be_certified(scores, rate):
    calibration = calibrate(np.array(scores), rate)
    judge = ConformalThreshold(scores, calibration.threshold)
    assert calibration.certified == ((len(scores) + 1) * rate >= 1 - 1e-9)
    for score in np.arange(-1, 32, 0.5):
        verdict = judge.verdict(float(score))
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

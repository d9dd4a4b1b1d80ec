"""Thresholds for other rates than the bundle's, against a recomputation that counts."""

import math
from dataclasses import replace
from fractions import Fraction
from typing import cast

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.operating_points import (
    RATES,
    Decision,
    DecisionConfig,
    decide,
    operating_points,
    reject_above,
    reject_at_rate,
)
from edge_occ.common.errors import InputError


class _Held:
    """The parts of a bundle that a decision needs."""

    def __init__(self, scores, rate=0.01):
        self.held_out = np.array(scores, float)
        self.manifest = self
        self.calibration = calibrate(self.held_out, rate)


def bundle_of(scores, rate=0.01):
    return cast(Bundle, _Held(scores, rate))


def config(reject=None, review=None):
    return DecisionConfig(reject_rate=reject, review_rate=review)


def naive_threshold(scores, rate):
    """The lowest score that a further good part exceeds with a chance of ``rate`` at most; None: there is none."""
    ascending, allowed = sorted(scores), Fraction(str(rate)) * (len(scores) + 1)
    return next((score for i, score in enumerate(ascending) if len(scores) - i <= allowed), None)


SCORES = st.lists(st.integers(0, 10**6), min_size=1, max_size=60, unique=True)
RATE = st.integers(1, 49).map(lambda percent: percent / 100)


@settings(max_examples=40)
@given(SCORES, RATE, RATE)
def test_thresholds_and_verdicts_follow_the_naive_ones(scores, reject, review):
    assume(review > reject)
    naive_reject, naive_review = naive_threshold(scores, reject), naive_threshold(scores, review)
    if naive_reject is None or naive_review is None or naive_review == naive_reject:
        with pytest.raises(InputError, match=r"decision\.re"):
            decide(bundle_of(scores), config(reject, review))
        return
    judge = decide(bundle_of(scores), config(reject, review)).threshold
    assert (judge.threshold, judge.review_threshold) == (naive_reject, naive_review)
    for score in [*scores, naive_reject + 0.5, naive_review + 0.5, -1]:
        name = "anomalous" if score > naive_reject else "review" if score > naive_review else "normal"
        verdict = judge.verdict(score)
        assert (verdict.name, verdict.anomalous) == (name, name == "anomalous")


def test_without_settings_the_bundle_decides(tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    decision = decide(bundle, config())
    assert decision.reject == bundle.manifest.calibration
    assert decision.threshold.threshold == bundle.conformal_threshold().threshold
    assert decision.threshold.verdict(decision.threshold.threshold).name == "normal"


def test_the_bundles_own_rate_asked_for_gives_its_threshold():
    held = bundle_of(np.arange(200.0), 0.02)
    assert decide(held, config(0.02)).reject == held.manifest.calibration


@settings(max_examples=20)
@given(SCORES, st.sampled_from([1e-6, 0.0001, 0.001, 0.005]))
def test_a_rate_that_cannot_be_certified_is_refused_with_the_lowest_that_can(scores, rate):
    assume(rate < 1 / (len(scores) + 1) < 0.499)
    with pytest.raises(InputError) as caught:
        decide(bundle_of(scores), config(rate))
    assert str(rate) in caught.value.found
    lowest = float(caught.value.advice.split("reject_rate=")[1].split()[0])
    assert decide(bundle_of(scores), config(lowest)).reject.certified
    assert lowest <= 1.001 / (len(scores) + 1)


def test_a_band_that_is_empty_is_refused_with_the_lowest_rate_that_is_not():
    for reject, review in ((None, 0.01), (0.05, 0.0501), (None, 0.005)):
        with pytest.raises(InputError) as caught:
            decide(bundle_of(np.arange(200.0), 0.02), config(reject, review))
        lowest = float(caught.value.advice.split("review_rate=")[1].split()[0])
        decision = decide(bundle_of(np.arange(200.0), 0.02), config(reject, lowest))
        assert decision.review.expected > decision.reject.expected


def test_a_bundle_that_cannot_certify_its_own_rate_still_decides_by_its_highest_score():
    decision = decide(bundle_of(np.arange(60.0), 0.01), config(None, 0.1))
    assert decision.threshold.verdict(59.5).name == "anomalous"
    assert decision.threshold.verdict(58.5).name == "review"


@pytest.mark.parametrize(
    "values",
    [
        {"reject_rate": 0.05, "review_rate": 0.05},
        {"reject_rate": 0.05, "review_rate": 0.01},
        {"reject_rate": 0},
        {"reject_rate": 0.5},
        {"review_rate": -1},
        {"review_rate": math.nan},
        {"rate": 0.1},
    ],
)
def test_settings_that_mean_nothing_are_refused(values):
    with pytest.raises(ValidationError):
        DecisionConfig.model_validate(values)


def test_the_guarantee_counts_false_alarms_and_frames_to_review():
    """Simulated with scores of rank i: above the threshold 1 of 200, between the thresholds 19 of 200."""
    decision = decide(bundle_of(np.arange(199.0), 0.005), config(None, 0.1))
    assert decision.guarantee().endswith(" Expect about 5 false alarms and 95 frames to review in 1000 good parts.")
    assert "review" not in replace(decision, review=None).guarantee()


def test_the_guarantee_of_the_band_holds_on_further_parts():
    chance = np.random.default_rng(0)
    rejected = reviewed = 0
    for _ in range(200):
        judge = decide(bundle_of(chance.normal(size=99)), config(0.02, 0.1)).threshold
        names = [judge.verdict(float(score)).name for score in chance.normal(size=20)]
        rejected, reviewed = rejected + names.count("anomalous"), reviewed + names.count("review")
    assert rejected / 4000 == pytest.approx(0.02, abs=0.009)
    assert reviewed / 4000 == pytest.approx(0.08, abs=0.018)


def test_operating_points_are_the_calibrations_of_their_rates():
    scores = np.random.default_rng(0).normal(size=80)
    points = operating_points(scores)
    assert [point.false_alarm_rate for point in points] == list(RATES)
    assert [point.certified for point in points] == [False, True, True, True]
    assert [point.threshold for point in points[1:]] == [naive_threshold(scores.tolist(), rate) for rate in RATES[1:]]


def test_a_decision_holds_its_scores():
    scores = np.array([3.0, 1.0, 2.0])
    decision = Decision(scores, calibrate(scores, 0.3), None)
    assert list(decision.threshold.held_out) == [1.0, 2.0, 3.0]


@settings(max_examples=40)
@given(SCORES, RATE)
def test_another_rate_of_a_running_inspection_is_that_of_the_settings(scores, rate):
    current = decide(bundle_of(scores), config())
    if naive_threshold(scores, rate) is None:
        with pytest.raises(InputError, match=r"decision\.reject_rate"):
            reject_at_rate(current, rate)
    else:
        assert reject_at_rate(current, rate).reject == decide(bundle_of(scores), config(rate)).reject


@settings(max_examples=60)
@given(SCORES, st.floats(-1, 10**6 + 1))
def test_another_threshold_is_one_that_the_scores_certify(scores, threshold):
    current = decide(bundle_of(scores), config())
    n, above = len(scores), sum(score > threshold for score in scores)
    expected = (above + 1) / (n + 1)
    if threshold > max(scores) or expected >= 0.5:
        with pytest.raises(InputError, match="a threshold from"):
            reject_above(current, threshold)
        return
    reject = reject_above(current, threshold).reject
    assert (reject.threshold, reject.expected, reject.certified) == (threshold, pytest.approx(expected), True)


def test_the_range_of_thresholds_is_that_of_the_refusal():
    held = bundle_of(np.arange(100.0))
    current = decide(held, config())
    with pytest.raises(InputError, match="from 50 to 99,"):
        reject_above(current, 49.9)
    for allowed in (50, 99):
        assert reject_above(current, allowed).reject.threshold == allowed


def test_the_review_band_stays_or_the_change_is_refused():
    current = decide(bundle_of(np.arange(100.0)), config(0.05, 0.2))
    assert reject_above(current, 90.5).review == current.review
    for change in (lambda: reject_above(current, 70), lambda: reject_at_rate(current, 0.3)):
        with pytest.raises(InputError, match="review_rate of at least"):
            change()

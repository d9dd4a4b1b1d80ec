from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.guarantee import guarantee, images_needed, lowest_certified_rate, share_in_words


def test_a_certified_rate():
    assert guarantee(calibrate(np.arange(209.0), 0.01)) == (
        "Expect about 1 false alarm in 105 good parts (at most 1 in 44 with 95 % confidence), from 209 held-out images."
    )


def test_a_rate_that_the_images_cannot_certify():
    assert guarantee(calibrate(np.arange(60.0), 0.01)) == (
        "60 images cannot certify the declared rate of 1 in 100: that takes at least 99. The lowest rate that they "
        "certify is 1 in 61. The highest held-out score is the threshold; expect about 1 false alarm in 61 good parts "
        "(at most 1 in 20 with 95 % confidence), from 60 held-out images."
    )


def test_a_coarse_rate_is_reported_in_a_hundred():
    assert guarantee(calibrate(np.arange(100.0), 0.3)) == (
        "Expect about 30 false alarms in 100 good parts (at most 38 in 100 with 95 % confidence), from 100 held-out "
        "images."
    )


@given(st.integers(8, 400), st.sampled_from([0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003]))
def test_the_images_needed_are_those_from_which_calibration_certifies(n, rate):
    assert calibrate(np.arange(float(n)), rate).certified == (n >= images_needed(rate))


@given(st.integers(2, 400))
def test_the_lowest_certified_rate_is_certified_and_a_lower_one_is_not(n):
    rate = lowest_certified_rate(n)
    assert calibrate(np.arange(float(n)), rate).certified
    assert not calibrate(np.arange(float(n)), 0.999 * rate).certified


@given(st.integers(8, 400), st.sampled_from([0.4, 0.2, 0.05, 0.01, 0.001]))
def test_the_bound_in_words_is_never_tighter_than_the_bound(n, rate):
    calibration = calibrate(np.arange(float(n)), rate)
    found = re.search(r"at most (\d+) in (\d+)", guarantee(calibration))
    assert found
    stated = int(found[1]) / int(found[2])
    assert calibration.upper_95 <= stated <= 1.25 * calibration.upper_95


@pytest.mark.parametrize(("share", "words"), [(0.01, "1 in 100"), (0.003, "1 in 333"), (0.25, "25 in 100")])
def test_shares(share, words):
    assert share_in_words(share) == words

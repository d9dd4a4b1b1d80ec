"""Brightness, contrast and repeated rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.exposure import mean_and_deviation, repeated_rows


def noise(height=40, width=50, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_mean_and_deviation_are_those_of_the_channels(dtype):
    image = noise().astype(dtype)
    mean, deviation = mean_and_deviation(image)
    assert mean == pytest.approx(image.mean())
    assert deviation == pytest.approx(np.sqrt(image.reshape(-1, 3).var(0).mean()))


def test_a_picture_of_one_colour_has_no_deviation():
    image = np.full((30, 20, 3), (0, 135, 250), np.uint8)
    assert mean_and_deviation(image) == pytest.approx((385 / 3, 0), abs=1e-6)


@given(st.integers(2, 60), st.data())
def test_repeated_rows_are_the_longest_run(height, data):
    begin = data.draw(st.integers(0, height - 2))
    end = data.draw(st.integers(begin + 1, height - 1))
    image = noise(height)
    image[begin + 1 : end + 1] = image[begin]
    assert repeated_rows(image) == pytest.approx((end - begin) / height)


def test_rows_that_differ_between_the_columns_compared_first_are_no_repetition():
    image = np.full((40, 50, 3), 90, np.uint8)
    image[:, 1] = np.arange(40)[:, None]
    assert repeated_rows(image) == 0


def test_one_row_repeats_nothing():
    assert repeated_rows(noise(1)) == 0

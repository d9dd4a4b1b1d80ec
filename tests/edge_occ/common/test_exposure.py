"""Brightness, contrast and repeated rows."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.exposure import (
    LEVELS,
    at_most_repeated_rows,
    levels,
    mean_and_deviation,
    repeated_rows,
    sharpness,
)


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


def naive_sharpness(image):
    rows = range(0, len(image), max(1, len(image) // 128))
    width = image.shape[1]
    near = [abs(float(image[y, x + 1, 1]) - float(image[y, x, 1])) for y in rows for x in range(width - 1)]
    far = [abs(float(image[y, x + 8, 1]) - float(image[y, x, 1])) for y in rows for x in range(width - 8)]
    return (np.mean(near) / np.mean(far) - 0.125) / 0.875


@pytest.mark.parametrize("height", [40, 300])
def test_sharpness_is_the_contrast_of_neighbours_as_a_share_of_that_over_8_columns(height):
    image = cv2.GaussianBlur(noise(height), (0, 0), 1.5)
    assert sharpness(image) == pytest.approx(naive_sharpness(image), rel=1e-5)
    assert sharpness(noise(height)) == pytest.approx(1, abs=0.05)


def test_sharpness_falls_with_blur_and_depends_on_neither_brightness_nor_contrast():
    steps = np.kron(np.random.default_rng(0).integers(0, 2, (8, 10)), np.ones((16, 16))) * 120 + 60
    image = np.repeat(steps[:, :, None], 3, axis=2).astype(np.uint8)
    blurred = [sharpness(cv2.GaussianBlur(image, (0, 0), sigma)) for sigma in (0.8, 1.5, 3, 6)]
    assert blurred == sorted(blurred, reverse=True)
    assert blurred[-1] < 0.05
    assert sharpness(image // 2 + 7) == pytest.approx(sharpness(image), rel=0.01)
    assert sharpness(image.astype(np.uint16) * 257) == pytest.approx(sharpness(image), rel=1e-5)


def test_where_there_is_nothing_to_measure_a_picture_is_sharp():
    assert sharpness(np.full((20, 30, 3), 90, np.uint8)) == 1
    assert sharpness(noise(20, 8)) == 1


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_levels_are_quantiles_of_the_middle_channel(height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    ordered = sorted(image[:, :, 1].ravel().tolist())
    expected = tuple(ordered[int(share * (len(ordered) - 1))] for share in LEVELS)
    assert levels(image) == expected
    assert levels(image.astype(np.uint16) * 257) == tuple(257 * value for value in expected)


def test_levels_and_mean_of_a_large_picture_are_those_of_some_of_its_pixels():
    image = cv2.GaussianBlur(noise(1080, 1920), (0, 0), 9)
    assert levels(image) == pytest.approx(np.quantile(image[:, :, 1], LEVELS), abs=2)
    assert mean_and_deviation(image)[0] == pytest.approx(image.mean(), abs=0.5)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.integers(0, 99))
def test_some_columns_never_say_that_fewer_rows_repeat(rows, seed):
    kinds = np.random.default_rng(seed).integers(0, 2, (3, 40, 3), np.uint8)
    image = kinds[rows]
    assert at_most_repeated_rows(image) >= repeated_rows(image)

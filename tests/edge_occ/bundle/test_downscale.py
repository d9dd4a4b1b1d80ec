"""Halving large frames, against loops over pixels."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.downscale import downscale, downscaled_size

sides = st.integers(1, 40)
wanted = st.integers(1, 20)


def picture(height, width):
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def naive_means(frame, rows, columns):
    """The mean over each pixel's share of the frame, float64, by loops over its pixels."""
    height, width = frame.shape[:2]
    result = np.zeros((rows, columns, 3))
    for row in range(rows):
        for column in range(columns):
            top, left = row * height / rows, column * width / columns
            bottom, right = top + height / rows, left + width / columns
            for y in range(int(top), min(height, int(np.ceil(bottom - 1e-9)))):
                for x in range(int(left), min(width, int(np.ceil(right - 1e-9)))):
                    share = (min(bottom, y + 1) - max(top, y)) * (min(right, x + 1) - max(left, x))
                    result[row, column] += share * frame[y, x]
    return result * rows * columns / (height * width)


def naive_steps(shape, height, width):
    """Shapes on the way, the last one included."""
    steps = []
    while shape[0] >= 2 * height or shape[1] >= 2 * width:
        shape = (
            shape[0] // 2 if shape[0] >= 2 * height else shape[0],
            shape[1] // 2 if shape[1] >= 2 * width else shape[1],
        )
        steps.append(shape)
    return steps


@given(sides, sides, wanted, wanted)
def test_each_step_is_the_mean_of_what_a_pixel_covers(rows, columns, height, width):
    frame = picture(rows, columns)
    found, steps = downscale(frame, (height, width)), naive_steps((rows, columns), height, width)
    assert downscaled_size((rows, columns), (height, width)) == (steps or [(rows, columns)])[-1] == found.shape[:2]
    assert found.dtype == np.uint8
    # From a picture that is one step from the last, so that no rounding is added up.
    before = downscale(frame, steps[-2]) if len(steps) > 1 else frame
    expected = naive_means(before, *found.shape[:2]) if steps else frame
    assert np.abs(found - expected).max() <= 0.5 + 1e-4


@given(st.integers(1, 20), st.integers(1, 20))
def test_halves_of_both_axes_are_rounded_half_up_exactly(rows, columns):
    frame = picture(2 * rows, 2 * columns)
    expected = np.zeros((rows, columns, 3), np.uint8)
    for row in range(rows):
        for column in range(columns):
            block = frame[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].astype(int)
            expected[row, column] = (block.sum((0, 1)) + 2) // 4
    np.testing.assert_array_equal(downscale(frame, (rows, columns)), expected)


@given(sides, sides, wanted, wanted)
def test_what_is_left_is_between_once_and_twice_the_size_wanted(rows, columns, height, width):
    found = downscaled_size((rows, columns), (height, width))
    for before, after, least in zip((rows, columns), found, (height, width), strict=True):
        assert after == before if before < 2 * least else least <= after < 2 * least


@given(sides, sides, st.integers(1, 3), st.integers(1, 3))
def test_pixels_that_were_enlarged_come_back(rows, columns, down, across):
    """Nothing is shifted: each pixel is the mean of exactly its own block."""
    frame = picture(rows, columns)
    large = frame.repeat(2**down, axis=0).repeat(2**across, axis=1)
    np.testing.assert_array_equal(downscale(large, (rows, columns)), frame)


def test_frames_below_twice_the_size_are_the_very_same():
    for shape in ((96, 96), (191, 191), (5, 191)):
        frame = picture(*shape)
        assert downscale(frame, (96, 96)) is frame


@pytest.mark.parametrize("view", [np.s_[:, ::-1], np.s_[::2, 10:-10], np.s_[..., ::-1]], ids=str)
def test_views_and_read_only_frames_are_taken_and_left_as_they_are(view):
    frame = picture(300, 400)
    frame.flags.writeable = False
    before = frame.copy()
    expected = downscale(np.ascontiguousarray(frame[view]), (64, 64))
    np.testing.assert_array_equal(downscale(frame[view], (64, 64)), expected)
    np.testing.assert_array_equal(frame, before)


def test_the_number_of_threads_changes_nothing():
    frame, threads = picture(1081, 1922), cv2.getNumThreads()
    found = []
    try:
        for count in (1, 2, 5):
            cv2.setNumThreads(count)
            found.append(downscale(frame, (100, 100)).tobytes())
    finally:
        cv2.setNumThreads(threads)
    assert found[0] == found[1] == found[2]

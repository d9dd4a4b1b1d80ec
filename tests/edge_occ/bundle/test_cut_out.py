"""A turned rectangle of a frame and its score map's way back, against loops over pixels."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_occ.bundle import cut_out as module
from edge_occ.bundle.cut_out import Rectangle, cut_out, halved, map_in_frame

angles = st.floats(0, 2 * np.pi)


def noise(height, width):
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def rectangle(x, y, angle, height, width):
    return Rectangle(x, y, float(np.cos(angle)), float(np.sin(angle)), height, width)


def between(values, y, x):
    """Bilinear interpolation of one position, the edge repeated outside."""
    rows, columns = values.shape[:2]
    top, left = int(np.floor(y)), int(np.floor(x))
    total = 0.0
    for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
            pixel = values[min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)]
            total = total + down * across * pixel.astype(float)
    return total


def naive_cut_out(frame, place, factor):
    height, width = place.height // factor, place.width // factor
    result = np.zeros((height, width, 3))
    for row in range(height):
        for column in range(width):
            u, v = (column - (width - 1) / 2) * factor, (row - (height - 1) / 2) * factor
            x = place.x + place.cos * u - place.sin * v
            y = place.y + place.sin * u + place.cos * v
            result[row, column] = between(frame, (y + 0.5) / factor - 0.5, (x + 0.5) / factor - 0.5)
    return result


@settings(max_examples=40)
@given(angles, st.floats(-4, 44), st.floats(-4, 34), st.integers(4, 24), st.integers(4, 24), st.sampled_from([1, 2]))
def test_each_pixel_lies_between_its_four_neighbours(angle, x, y, height, width, factor):
    frame, place = noise(30, 40), rectangle(x, y, angle, height, width)
    found = cut_out(frame, place, factor)
    assert found.dtype == np.uint8
    # A weight has 8 bits, which is a grey level along each axis at most, and the result is rounded.
    assert np.abs(found - naive_cut_out(frame, place, factor)).max() <= 2.5


@given(st.integers(0, 10), st.integers(0, 10), st.integers(4, 20), st.integers(4, 20), st.integers(0, 3))
def test_right_angles_and_whole_pixels_are_exact(left, top, height, width, turns):
    frame = noise(30, 40)
    expected = frame[top : top + height, left : left + width]
    cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[turns]
    sides = (height, width) if turns % 2 == 0 else (width, height)
    place = Rectangle(left + (width - 1) / 2, top + (height - 1) / 2, cos, sin, *sides)
    np.testing.assert_array_equal(cut_out(frame, place), np.rot90(expected, turns))


@given(st.integers(8, 70), st.integers(8, 70), st.integers(0, 3))
def test_halves_are_exact_means_of_whole_squares(rows, columns, times):
    frame, side = noise(rows, columns), 1 << times
    found = halved(frame, times)
    assert found.shape == (rows // side, columns // side, 3)
    squares = frame[: rows // side * side, : columns // side * side]
    means = squares.reshape(rows // side, side, columns // side, side, 3).mean((1, 3))
    # Each halving rounds.
    assert np.abs(found - means).max() <= 0.5 * times


@given(angles)
def test_halving_first_moves_nothing(angle):
    y, x = np.indices((160, 160))
    # A plane has the same value in the mean of a square as in its middle.
    frame = np.stack([x, y, (x + y) // 2], axis=2).astype(np.uint8)
    place = rectangle(81.3, 77.9, angle, 64, 96)
    fine, coarse = cut_out(frame, place), cut_out(halved(frame, 2), place, 4)
    means = fine.reshape(16, 4, 24, 4, 3).mean((1, 3))
    assert np.abs(coarse - means).max() <= 2


def test_a_view_is_cut_as_its_copy():
    frame = noise(60, 80)[::-1, ::2, ::-1]
    place = rectangle(20.4, 30.2, 0.7, 20, 30)
    np.testing.assert_array_equal(cut_out(frame, place), cut_out(np.ascontiguousarray(frame), place))


def test_every_processor_and_version_gives_the_same_pixels():
    found = [cut_out(noise(90, 70), rectangle(33.3, 41.7, angle, 40, 60)) for angle in (0.1, 1.3, 2.6, 4.4, 5.9)]
    assert zlib.crc32(np.stack(found).tobytes()) == 4172583351


@settings(max_examples=40)
@given(angles, st.floats(5, 45), st.floats(5, 35), st.integers(6, 40), st.integers(6, 40))
def test_the_map_is_turned_back_pixel_by_pixel(angle, x, y, height, width):
    scores = np.random.default_rng(1).random((12, 16), dtype=np.float32)
    place = rectangle(x, y, angle, height, width)
    found = map_in_frame(scores, place, (40, 50, 3))
    step = 50 / found.shape[1]
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            dx, dy = (column + 0.5) * step - 0.5 - x, (row + 0.5) * step - 0.5 - y
            u, v = place.cos * dx + place.sin * dy, place.cos * dy - place.sin * dx
            rest = max(abs(u) - width / 2, abs(v) - height / 2)
            if rest > 1e-3:
                assert found[row, column] == 0
            elif rest < -1e-3:
                expected = between(scores, (v / height + 0.5) * 12 - 0.5, (u / width + 0.5) * 16 - 0.5)
                assert found[row, column] == pytest.approx(expected, abs=1e-3)


def test_a_map_in_place_is_the_map():
    scores = np.random.default_rng(2).random((20, 30), dtype=np.float32)
    found = map_in_frame(scores, Rectangle(24.5, 19.5, 1.0, 0.0, 20, 30), (50, 60, 3))
    np.testing.assert_allclose(found[10:30, 10:40], scores, atol=1e-5)
    assert found.sum() == pytest.approx(scores.sum(), rel=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "shape"), [(30, 60, (400, 600)), (80, 160, (100, 150)), (180, 340, (50, 75))]
)
def test_a_map_in_the_frame_is_about_as_fine_as_the_score_map(height, width, shape):
    found = map_in_frame(np.ones((20, 40), np.float32), rectangle(300, 200, 0.3, height, width), (400, 600, 3))
    assert found.shape == shape
    assert found.max() == 1
    assert found.mean() == pytest.approx(height * width / (400 * 600), rel=0.1)


def test_a_map_in_the_frame_has_a_bounded_size(monkeypatch):
    monkeypatch.setattr(module, "MAX_MAP_PIXELS", 70_000)
    assert map_in_frame(np.ones((20, 40), np.float32), rectangle(9, 9, 0, 20, 40), (400, 600, 3)).shape == (200, 300)


def test_a_rectangle_between_two_pixels_of_the_map_or_outside_is_no_error():
    scores = np.ones((4, 4), np.float32)
    for x in (0.0, 9.5, 1000.0):
        assert map_in_frame(scores, rectangle(x, 5, 1, 4, 4), (10, 20)).shape == (10, 20)


@settings(max_examples=60)
@given(
    st.floats(-3, 43), st.floats(-3, 33), st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(1, 12)
)
def test_a_map_that_is_not_turned_is_the_same_to_the_bit_as_by_the_way_of_turned_ones(
    x, y, height, width, rows, columns
):
    values = np.random.default_rng(rows * 100 + columns).random((rows, columns), dtype=np.float32)
    upright = map_in_frame(values, Rectangle(x, y, 1, 0, height, width), (30, 40))
    turned = map_in_frame(values, Rectangle(x, y, 1, 1e-300, height, width), (30, 40))
    assert upright.dtype == turned.dtype
    np.testing.assert_array_equal(upright, turned)

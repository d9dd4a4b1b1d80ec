"""The part before a plain ground, against loops over pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from parts import PIN, ROD, picture, together

from edge_occ.bundle.part import differing, find_part


def naive_part(mask):
    """Area, axis, box, elongation and skewness of a mask's pixels, from a list of them."""
    y, x = (values.astype(float) for values in np.nonzero(mask))
    pixels = np.stack([x, y])
    values, vectors = np.linalg.eigh(np.cov(pixels, bias=True))
    axis = vectors[:, 1]
    along = axis @ (pixels - pixels.mean(1, keepdims=True))
    skewness = float((along**3).mean() / (along**2).mean() ** 1.5)
    axis = axis if skewness >= 0 else -axis
    u, v = axis @ pixels, np.array([-axis[1], axis[0]]) @ pixels
    u0, v0 = (u.min() + u.max()) / 2, (v.min() + v.max()) / 2
    return {
        "area": len(x),
        "cos": axis[0],
        "sin": axis[1],
        "x": u0 * axis[0] - v0 * axis[1],
        "y": u0 * axis[1] + v0 * axis[0],
        "length": u.max() - u.min() + 1,
        "width": v.max() - v.min() + 1,
        "elongation": (values[1] - values[0]) / values.sum(),
        "skewness": abs(skewness),
    }


@settings(max_examples=25)
@given(st.floats(0, 360), st.floats(90, 166), st.floats(90, 166))
def test_a_part_is_measured_as_by_loops_over_its_pixels(degrees, x, y):
    image = picture(degrees=degrees, centre=(x, y))
    part = find_part(image)
    expected = naive_part(differing(image))
    assert {name: getattr(part, name) for name in expected} == pytest.approx(expected, abs=1e-6)
    assert not part.at_edge
    assert part.next_area == 0


@settings(max_examples=25)
@given(st.floats(0, 360), st.floats(90, 166), st.floats(90, 166))
def test_axis_and_middle_are_those_of_the_drawing(degrees, x, y):
    part = find_part(picture(degrees=degrees, centre=(x, y)))
    expected = math.radians(degrees)
    assert abs(math.remainder(math.atan2(part.sin, part.cos) - expected, 2 * math.pi)) < math.radians(0.6)
    assert (part.x, part.y) == pytest.approx((x, y), abs=1.6)
    # The majority filter takes the tip, and a pixel of each corner.
    assert part.length == pytest.approx(119, abs=3.5)
    assert part.width == pytest.approx(36, abs=2.5)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_frame_turned_by_a_right_angle_has_the_same_part(turns):
    image = picture(degrees=20, centre=(120, 140), shape=(240, 280))
    part, turned = find_part(image), find_part(np.rot90(image, -turns))
    for name in ("area", "length", "width", "elongation", "skewness"):
        assert getattr(turned, name) == pytest.approx(getattr(part, name), abs=1e-9)
    angle = math.atan2(turned.sin, turned.cos) - math.atan2(part.sin, part.cos)
    assert math.remainder(angle - turns * math.pi / 2, 2 * math.pi) == pytest.approx(0, abs=1e-9)


def test_alike_ends_have_no_skewness_and_discs_no_axis():
    assert find_part(picture(ROD, degrees=30)).skewness < 0.005
    assert find_part(picture(PIN, degrees=30)).skewness > 0.1
    y, x = np.indices((101, 101)) - 50
    disc = np.where((x * x + y * y < 900)[..., None], 50, 200).astype(np.uint8).repeat(3, 2)
    assert find_part(disc).elongation < 1e-9


def test_holes_are_filled_and_specks_are_left_out():
    image = picture()
    whole = find_part(image)
    image[120:136, 72:79] = 200  # in the head
    image[20:23, 20:23] = 70  # beside it
    part = find_part(image)
    assert part.next_area == 0
    assert part.area == pytest.approx(whole.area, abs=20)  # the hole has 112 pixels
    assert (part.length, part.width) == pytest.approx((whole.length, whole.width), abs=0.5)


def test_the_next_part_is_counted():
    one = picture(centre=(128, 60))
    other = picture(centre=(128, 190), scale=0.5)
    part = find_part(together(one, other))
    # The mean contrast of both parts is not exactly that of either.
    assert part.area == pytest.approx(find_part(one).area, rel=0.02)
    assert part.next_area == pytest.approx(find_part(other).area, rel=0.02)


@pytest.mark.parametrize(
    ("degrees", "centre", "at_edge"),
    [
        (0, (128, 128), False),
        (0, (50, 128), True),
        (0, (210, 128), True),
        (90, (128, 50), True),
        (90, (128, 240), True),
    ],
)
def test_a_part_that_leaves_the_frame_is_at_its_edge(degrees, centre, at_edge):
    assert find_part(picture(degrees=degrees, centre=centre)).at_edge is at_edge


def test_there_is_no_part_without_a_plain_ground_or_before_it():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    even = np.full((64, 64, 3), 90, dtype=np.uint8)
    assert find_part(noise) is None
    assert find_part(even) is None


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (9, 9)])
def test_frames_of_any_size_are_searched(shape):
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    assert find_part(image) is None
    assert find_part(image[:, :, ::-1]) is None


def test_a_higher_contrast_leaves_a_shadow_out():
    image = picture()
    shadow = picture(PIN, centre=(128, 134), ground=200).astype(int)
    shaded = np.minimum(image, np.where(shadow < 200, 120, 200)).astype(np.uint8)
    assert find_part(shaded, 0.5).area > 1.1 * find_part(image).area
    assert find_part(shaded, 0.75).area == pytest.approx(find_part(image, 0.75).area, rel=0.02)


def test_a_part_is_as_many_times_larger_in_a_larger_frame():
    image = picture(degrees=75, centre=(110, 140))
    part = find_part(image)
    large = part.scaled(4)
    # A pixel of the frame is four by four of the larger one, from its outer edge on.
    assert (large.x, large.y) == pytest.approx((4 * part.x + 1.5, 4 * part.y + 1.5))
    assert (large.length, large.width) == pytest.approx((4 * part.length, 4 * part.width))
    assert large.area == 16 * part.area
    assert (large.cos, large.sin, large.skewness) == (part.cos, part.sin, part.skewness)

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.output.heatmap import _FULL_OPACITY, encode_jpeg, overlay, shrink


def blob(height=32, width=48):
    """Scores of 0 with a patch of 20 in the middle."""
    score_map = np.zeros((height, width), np.float32)
    score_map[12:20, 16:32] = 20
    return score_map


def test_normal_parts_stay_as_they_are():
    frame = np.random.RandomState(0).randint(0, 256, (64, 96, 3)).astype(np.uint8)
    before = frame.copy()
    np.testing.assert_array_equal(overlay(frame, np.full((8, 12), 5, np.float32), low=5, threshold=10), frame)
    picture = overlay(frame, blob(), low=5, threshold=10)
    assert picture.shape == frame.shape
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[:16], frame[:16])
    assert (picture[30:34, 40:56] != frame[30:34, 40:56]).any()
    np.testing.assert_array_equal(frame, before)


def test_colour_and_opacity_grow_with_the_score():
    frame = np.full((10, 300, 3), 128, np.uint8)
    ramp = np.linspace(0, 30, 300, dtype=np.float32)[np.newaxis].repeat(10, axis=0)
    # Away from the outline, which stands where the score is 20.
    picture = overlay(frame, ramp, low=10, threshold=20).astype(int)
    change = np.abs(picture - frame).max(axis=2)[5]
    assert change[:100].max() == 0, "not above the usual score of a normal part"
    assert change[150] > 10
    full = overlay(frame, np.full((10, 300), 30, np.float32), low=10, threshold=20)
    beyond = overlay(frame, np.full((10, 300), 1e9, np.float32), low=10, threshold=20)
    np.testing.assert_array_equal(full, beyond)
    blue, _, red = full[5, 150].astype(int)
    assert red > blue, "the highest scores are red"
    blue, _, red = picture[5, 140]
    assert blue > red, "low ones are blue"


def test_the_threshold_is_the_middle_of_the_scale():
    picture = overlay(np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 20, np.float32), low=10, threshold=20)
    middle = cv2.applyColorMap(np.full((4, 4), 127, np.uint8), cv2.COLORMAP_TURBO)
    assert np.abs(picture - middle * _FULL_OPACITY / 2).max() <= 1


def test_the_outline_surrounds_what_is_above_the_threshold():
    frame = np.full((128, 192, 3), 128, np.uint8)
    picture = overlay(frame, blob(), low=5, threshold=10)
    white = np.argwhere((picture == 255).all(axis=2))
    scores = cv2.resize(blob(), (192, 128), interpolation=cv2.INTER_LINEAR)
    inside = np.argwhere(scores > 10)
    np.testing.assert_array_equal(white.min(axis=0), inside.min(axis=0))
    np.testing.assert_array_equal(white.max(axis=0), inside.max(axis=0))
    without = overlay(frame, blob(), low=5, threshold=20)
    assert not (without == 255).all(axis=2).any(), "a score at the threshold is not above it"


def test_a_threshold_at_the_usual_score_still_gives_a_picture():
    frame = np.full((32, 48, 3), 128, np.uint8)
    picture = overlay(frame, blob(), low=0, threshold=0)
    np.testing.assert_array_equal(picture[:8], frame[:8])
    assert (picture[16, 24] != 128).any()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((2048, 1024), (1024, 512)), ((300, 3000), (102, 1024)), ((1, 5000), (1, 1024)), ((40, 60), (40, 60))],
)
def test_pictures_are_shrunk_but_never_enlarged(shape, expected):
    image = np.full((*shape, 3), 90, np.uint8)
    small = shrink(image, 1024)
    assert small.shape == (*expected, 3)
    assert (small == 90).all()
    assert (small is image) == (shape == expected)
    data = encode_jpeg(small)
    assert isinstance(data, bytes)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.shape == (*expected, 3)
    assert np.abs(decoded.astype(int) - 90).max() <= 2


@given(st.integers(1, 300), st.integers(1, 300), st.integers(64, 100))  # mqtt.heatmap_side is 64 at least
def test_what_is_shrunk_keeps_its_shape_and_nothing_moves(height, width, limit):
    """A ramp along each axis stays the ramp, at the centres of the larger pixels."""
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, height).round()[:, None]
    ramp[..., 1] = np.linspace(0, 255, width).round()
    small = shrink(ramp, limit)
    rows, columns = small.shape[:2]
    longest = max(height, width)
    assert max(rows, columns) == min(limit, longest)
    assert abs(rows - max(1, height * min(1, limit / longest))) <= 0.5
    assert abs(columns - max(1, width * min(1, limit / longest))) <= 0.5
    for channel, (pixels, left) in enumerate(((height, rows), (width, columns))):
        centres = (np.arange(left) + 0.5) * pixels / left - 0.5
        expected = 255 * centres / max(1, pixels - 1)
        found = small[:, 0, 0] if channel == 0 else small[0, :, 1]
        # Roundings, and half of a step where two pixels are all there is to a mean.
        assert np.abs(found - expected).max() <= 2.5 + 0.51 * 255 / max(1, pixels - 1)


def test_a_large_frame_is_shrunk_before_it_is_drawn_on():
    frame = np.random.RandomState(0).randint(0, 256, (640, 960, 3)).astype(np.uint8)
    picture = overlay(frame, blob(), low=5, threshold=10, longest_side=96)
    np.testing.assert_array_equal(picture, overlay(shrink(frame, 96), blob(), low=5, threshold=10))
    assert picture.shape == (64, 96, 3)
    np.testing.assert_array_equal(overlay(frame, blob(), 5, 10, 960), overlay(frame, blob(), 5, 10))


def test_jpeg_quality_costs_bytes():
    image = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    assert len(encode_jpeg(image, quality=30)) < len(encode_jpeg(image, quality=90))


def test_pictures_that_are_views_can_be_encoded():
    image = np.random.RandomState(0).randint(0, 256, (64, 64, 3)).astype(np.uint8)
    assert encode_jpeg(image[::2, ::-1]) == encode_jpeg(np.ascontiguousarray(image[::2, ::-1]))

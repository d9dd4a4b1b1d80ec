"""The mask of a run, against naive loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_occ.common.drawn_region import DrawnRegion, Polygons
from edge_occ.common.errors import InputError
from edge_occ.inspection.mask import Mask, limited
from edge_occ.inspection.regions import find_boxes
from edge_occ.inspection.roi import Roi
from edge_occ.sources.faults import Reason, Unscored
from engines.base import Scores

shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=10)
values = st.floats(0, 9, width=32)


def drawn(pixels):
    return DrawnRegion(Path("mask.png"), pixels.shape, bits=np.packbits(pixels).tobytes())


def outlines(inspect=(), ignore=(), size=(20, 30)):
    return DrawnRegion(Path("mask.json"), size, Polygons(inspect=inspect, ignore=ignore))


def square(left, top, right, bottom):
    return ((left, top), (right, top), (right, bottom), (left, bottom))


@st.composite
def masked_maps(draw):
    """A map, and which of its values count: at least one."""
    shape = draw(shapes)
    inside = draw(hnp.arrays(bool, shape))
    inside[draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))] = True
    return draw(hnp.arrays(np.float32, shape, elements=values)), inside


@given(masked_maps(), st.floats(0, 20), values)
def test_score_map_and_boxes_are_those_of_a_loop(masked, score, threshold):
    score_map, inside = masked
    highest, left = 0.0, np.zeros_like(score_map)
    for place in np.ndindex(*score_map.shape):
        if inside[place]:
            highest = max(highest, float(score_map[place]))
            left[place] = score_map[place]
    found = limited(Scores(score, score_map), inside.astype(np.float32))
    assert found.score == min(score, highest) <= score, "it can only fall"
    assert found.map.dtype == np.float32
    np.testing.assert_array_equal(found.map, left)
    boxes = find_boxes(found.map, threshold, score_map.shape, limit=1000)
    assert boxes == find_boxes(left, threshold, score_map.shape, limit=1000)
    covered = np.zeros(score_map.shape, bool)
    for box in boxes:
        covered[box.y : box.y + box.height, box.x : box.x + box.width] = True
        assert box.peak <= highest
    assert covered[inside & (score_map > threshold)].all()


@given(masked_maps(), st.floats(0, 20))
def test_a_mask_of_the_maps_own_size_is_used_as_it_is(masked, score):
    score_map, inside = masked
    scores = Scores(score, score_map)
    found = Mask(drawn(inside)).limit(scores, score_map.shape)
    expected = limited(scores, inside.astype(np.float32))
    assert found.score == expected.score
    np.testing.assert_array_equal(found.map, expected.map)


def test_a_mask_of_everything_leaves_a_score_that_is_the_maps_highest():
    score_map = np.random.default_rng(0).random((8, 12)).astype(np.float32)
    scores = Scores(float(score_map.max()), score_map)
    for region in (drawn(np.ones((16, 24), bool)), outlines(), outlines([square(0, 0, 24, 16)], size=(17, 25))):
        found = Mask(region).limit(scores, (16, 24))
        assert found.score == scores.score
        np.testing.assert_array_equal(found.map, score_map)


@given(st.data())
def test_with_a_rectangle_the_mask_is_cropped_to_it(data):
    pixels = np.random.default_rng(data.draw(st.integers(0, 99))).random((12, 16)) < 0.5
    y, x = data.draw(st.integers(0, 11)), data.draw(st.integers(0, 15))
    roi = Roi(x, y, data.draw(st.integers(1, 16 - x)), data.draw(st.integers(1, 12 - y)))
    cropped = pixels[y : y + roi.height, x : x + roi.width]
    if not cropped.any():
        with pytest.raises(InputError, match="something to inspect in roi"):
            Mask(drawn(pixels), roi)
        return
    scores = Scores(9.0, np.ones(cropped.shape, np.float32))
    np.testing.assert_array_equal(Mask(drawn(pixels), roi).limit(scores, (12, 16)).map, cropped)


def test_it_is_resized_once_for_each_size_of_frame_and_map(monkeypatch):
    mask, drawings = Mask(outlines([square(2, 2, 9, 9)])), []
    monkeypatch.setattr(DrawnRegion, "pixels", lambda _, frame: drawings.append(frame) or np.ones(frame, bool))
    for frame, side in [((20, 30), 5), ((20, 30), 5), ((20, 30), 6), ((21, 30), 6), ((21, 30), 6)]:
        mask.limit(Scores(1.0, np.ones((side, side), np.float32)), frame)
    assert drawings == [(20, 30), (20, 30), (21, 30)]


def test_two_masks_are_equal_if_they_inspect_the_same():
    one, other = Mask(outlines([square(2, 2, 9, 9)])), Mask(outlines([square(2, 2, 9, 9)]))
    one.limit(Scores(1.0, np.ones((5, 5), np.float32)), (20, 30))
    assert one == other
    assert one != Mask(outlines([square(2, 2, 9, 8)]))
    assert one != Mask(outlines([square(2, 2, 9, 9)]), Roi(0, 0, 10, 10))


def fault(mask, frame, side=5):
    with pytest.raises(Unscored) as caught:
        mask.limit(Scores(1.0, np.ones((side, side), np.float32)), frame)
    assert caught.value.reason is Reason.FRAME
    assert isinstance(caught.value.error, InputError)
    return caught.value.detail


def test_a_frame_of_another_size_than_the_picture_is_a_fault():
    detail = fault(Mask(drawn(np.ones((20, 30), bool))), (30, 20))
    assert "expected a mask that fits frames of 20x30 pixels; found 30x20 in mask.png" in detail


def test_a_frame_without_a_corner_is_a_fault():
    assert "a corner at (25, 2) in mask.json" in fault(Mask(outlines([square(2, 2, 25, 9)])), (20, 24))


def test_a_frame_of_which_all_is_ignored_is_a_fault():
    mask = Mask(outlines(ignore=[square(0, 0, 15, 20)]))
    assert mask.limit(Scores(1.0, np.ones((5, 5), np.float32)), (20, 30)).score == 1.0
    assert "something to inspect; found nothing in mask.json" in fault(mask, (20, 15))


def test_a_mask_of_which_the_map_shows_nothing_is_a_fault():
    """A line of a pixel is less than half of each value of the map."""
    mask = Mask(outlines([square(3, 3, 3, 15)]))
    assert "something to inspect" in fault(mask, (20, 30))
    mask.require_fit((20, 30))


@pytest.mark.parametrize(
    ("region", "roi", "found"),
    [
        (drawn(np.zeros((4, 4), bool)), None, "nothing in mask.png"),
        (outlines([square(2, 2, 9, 9)], [square(0, 0, 12, 12)]), None, "nothing in mask.json"),
        (outlines([square(2, 2, 9, 9)]), Roi(10, 10, 5, 5), "nothing in mask.json"),
        (outlines(ignore=[square(0, 0, 30, 20)]), Roi(10, 10, 5, 5), "nothing in mask.json"),
        (drawn(np.ones((4, 4), bool)), Roi(10, 10, 5, 5), "nothing in mask.png"),
        (outlines([square(-2, 2, 9, 9)]), None, "a corner at (-2, 2) in mask.json"),
        (outlines([square(2, 2, 1e9, 9)], size=(10, 10**9 + 1)), None, "1000000001x10 in mask.json"),
        (outlines([square(2, 2, 9, 9)]), Roi(0, 0, 65535, 65535), "65535x65535 in mask.json"),
    ],
)
def test_a_mask_that_can_never_be_used_is_an_error_at_once(region, roi, found):
    with pytest.raises(InputError) as raised:
        Mask(region, roi)
    assert raised.value.found == found


def test_a_corner_beyond_the_rectangle_is_no_error():
    Mask(outlines([square(2, 2, 29, 19)]), Roi(0, 0, 5, 5)).require_fit((20, 30))

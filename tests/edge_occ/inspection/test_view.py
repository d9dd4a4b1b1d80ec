"""The part of a frame that is inspected: rectangle and mask together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.drawn_region import DrawnRegion
from edge_occ.inspection.mask import Mask
from edge_occ.inspection.regions import find_boxes
from edge_occ.inspection.roi import Roi
from edge_occ.inspection.view import View
from engines.base import Scores


def test_without_rectangle_and_mask_everything_stays_as_it_is():
    image, scores = np.zeros((20, 30, 3), np.uint8), Scores(3.0, np.ones((4, 6), np.float32))
    view = View()
    assert view.crop(image) is image
    assert view.limit(scores, (20, 30)) is scores
    assert view.boxes(scores.map, 0.5, image.shape) == find_boxes(scores.map, 0.5, image.shape)


@given(st.data())
def test_boxes_are_those_of_a_frame_whose_map_counts_in_both_alone(data):
    """The map of the rectangle has a value for each of its pixels, so its boxes are those of a map of the frame."""
    rows, columns = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    y, x = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    roi = Roi(x, y, data.draw(st.integers(1, columns - x)), data.draw(st.integers(1, rows - y)))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    pixels, frame_map = random.random((rows, columns)) < 0.7, random.random((rows, columns)).astype(np.float32)
    pixels[y, x] = True
    region = DrawnRegion(Path("mask.png"), (rows, columns), bits=np.packbits(pixels).tobytes())
    view, counts = View(roi, Mask(region, roi)), np.zeros((rows, columns), np.float32)
    for r in range(y, y + roi.height):
        for c in range(x, x + roi.width):
            counts[r, c] = frame_map[r, c] if pixels[r, c] else 0
    seen = view.crop(np.zeros((rows, columns, 3), np.uint8))
    scores = view.limit(Scores(float(frame_map.max()), roi.within(frame_map)), (rows, columns))
    assert scores.score == counts.max()
    assert view.boxes(scores.map, 0.5, seen.shape) == find_boxes(counts, 0.5, counts.shape)

"""Boxes around the regions of a score map, against a flood fill."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_occ.inspection.regions import find_boxes

maps = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.sampled_from([0, 1, 2])
)
sides = st.integers(1, 40)


def naive_regions(above):
    """Sets of (row, column), by flood fill over the eight neighbours."""
    left = {(int(r), int(c)) for r, c in zip(*np.nonzero(above), strict=True)}
    regions = []
    while left:
        fringe = [left.pop()]
        region = set(fringe)
        while fringe:
            r, c = fringe.pop()
            near = {(r + dr, c + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)} & left
            left -= near
            region |= near
            fringe += near
        regions.append(region)
    return regions


@given(maps, st.sampled_from([0, 1]))
def test_boxes_at_map_resolution_are_those_of_a_flood_fill(score_map, threshold):
    expected = []
    for region in naive_regions(score_map > threshold):
        rows, columns = zip(*region, strict=True)
        peak = max(float(score_map[r, c]) for r, c in region)
        size = (max(columns) - min(columns) + 1, max(rows) - min(rows) + 1)
        expected.append((min(columns), min(rows), *size, peak))
    boxes = find_boxes(score_map, threshold, score_map.shape, limit=1000)
    assert sorted((b.x, b.y, b.width, b.height, b.peak) for b in boxes) == sorted(expected)


@given(maps, sides, sides)
def test_boxes_in_a_frame_of_another_size(score_map, height, width):
    boxes = find_boxes(score_map, 0.5, (height, width, 3), limit=1000)
    assert [b.peak for b in boxes] == sorted((b.peak for b in boxes), reverse=True)
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.width >= 1
        assert box.height >= 1
        assert box.x + box.width <= width
        assert box.y + box.height <= height
    covered = np.zeros((height, width), bool)
    for box in boxes:
        covered[box.y : box.y + box.height, box.x : box.x + box.width] = True
    # The map pixel under the centre of every frame pixel.
    rows, columns = score_map.shape
    under = score_map[np.ix_(at_centres(height, rows), at_centres(width, columns))]
    assert covered[under > 0.5].all()


@given(maps, sides, sides)
def test_every_map_pixel_above_the_threshold_lies_in_a_box(score_map, height, width):
    boxes = find_boxes(score_map, 0.5, (height, width), limit=1000)
    rows, columns = score_map.shape
    for row, column in zip(*np.nonzero(score_map > 0.5), strict=True):
        top, bottom = row * height / rows, (row + 1) * height / rows
        left, right = column * width / columns, (column + 1) * width / columns
        assert any(b.x <= left and b.y <= top and b.x + b.width >= right and b.y + b.height >= bottom for b in boxes)


@given(maps, st.integers(1, 5), st.integers(1, 5))
def test_enlarging_the_frame_enlarges_the_boxes_exactly(score_map, down, across):
    rows, columns = score_map.shape
    small = find_boxes(score_map, 0.5, (rows, columns))
    large = find_boxes(score_map, 0.5, (rows * down, columns * across))
    assert [(b.x * across, b.y * down, b.width * across, b.height * down, b.peak) for b in small] == [
        (b.x, b.y, b.width, b.height, b.peak) for b in large
    ]


def at_centres(pixels, cells):
    return [(2 * n + 1) * cells // (2 * pixels) for n in range(pixels)]


def test_the_worst_boxes_are_kept():
    score_map = np.zeros((1, 20), np.float32)
    score_map[0, ::2] = [3, 9, 1, 5, 7, 2, 8, 4, 10, 6]
    assert [b.peak for b in find_boxes(score_map, 0, (1, 20), limit=3)] == [10, 9, 8]
    assert len(find_boxes(score_map, 0, (1, 20))) == 8


def test_a_normal_map_has_no_boxes():
    assert find_boxes(np.ones((4, 4), np.float32), 1.0, (8, 8)) == ()

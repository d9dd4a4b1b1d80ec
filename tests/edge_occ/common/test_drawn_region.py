"""Regions drawn by a person, against a point-in-polygon loop and a mean of pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common import drawn_region
from edge_occ.common.drawn_region import DrawnRegion, Polygons, at_size, read_drawn_region
from edge_occ.common.errors import InputError

HEIGHT, WIDTH = 12, 16
SQUARE, HOLE = [[2, 3], [20, 3], [20, 15], [2, 15]], [[5, 6], [9, 6], [9, 10], [5, 10]]

corners = st.tuples(st.integers(0, WIDTH), st.integers(0, HEIGHT))
polygons = st.lists(corners, min_size=3, max_size=6)


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def is_inside(polygon, x, y):
    """Whether a ray from a point to the right crosses the outline an odd number of times."""
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def distance(polygon, x, y):
    """From a point to the outline."""
    found = []
    for (x1, y1), (x2, y2) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        dx, dy = x2 - x1, y2 - y1
        along = 0 if dx == dy == 0 else ((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy)
        along = min(max(along, 0), 1)
        found.append(np.hypot(x - x1 - along * dx, y - y1 - along * dy))
    return min(found)


@given(st.lists(polygons, max_size=2), st.lists(polygons, max_size=2))
def test_polygons_hold_the_points_that_a_loop_finds_inside(inspect, ignore):
    """Pixels on an outline belong to it, and versions of OpenCV draw it differently: the others are compared."""
    given_ = Polygons.model_validate({"inspect": inspect, "ignore": ignore})
    pixels = DrawnRegion(Path("a.json"), (1, 1), given_).pixels((HEIGHT, WIDTH))
    assert pixels.shape == (HEIGHT, WIDTH)
    assert pixels.dtype == bool
    for y in range(HEIGHT):
        for x in range(WIDTH):
            if all(distance(polygon, x, y) > 1.5 for polygon in inspect + ignore):
                inspected = not inspect or any(is_inside(polygon, x, y) for polygon in inspect)
                ignored = any(is_inside(polygon, x, y) for polygon in ignore)
                assert pixels[y, x] == (inspected and not ignored), (x, y)


@given(st.data())
def test_another_size_shows_a_pixel_where_half_of_it_is_inspected(data):
    rows, columns = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    height, width = rows * data.draw(st.integers(1, 4)), columns * data.draw(st.integers(1, 4))
    pixels = np.random.default_rng(data.draw(st.integers(0, 99))).random((height, width)) < 0.5
    found = at_size(pixels, (rows, columns))
    for r in range(rows):
        for c in range(columns):
            shown = pixels[
                r * height // rows : (r + 1) * height // rows, c * width // columns : (c + 1) * width // columns
            ]
            share = sum(int(pixel) for pixel in shown.ravel()) / shown.size
            assert found[r, c] == (share >= 0.5)


def test_a_region_may_become_larger():
    pixels = np.zeros((4, 6), bool)
    pixels[1:3, 2:5] = True
    np.testing.assert_array_equal(at_size(pixels, (4, 6)), pixels)
    larger = at_size(pixels, (16, 24))
    assert larger[6:10, 10:18].all()
    assert not larger[:3].any()
    assert not larger[:, :7].any()


def test_the_bright_pixels_of_a_picture_are_inspected(tmp_path):
    picture = np.zeros((5, 13, 3), np.uint8)
    picture[1, 2], picture[2, 3], picture[4, 12] = (0, 128, 0), (127, 127, 127), (255, 255, 255)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    region = read_drawn_region(tmp_path / "a.png")
    assert np.argwhere(region.pixels((5, 13))).tolist() == [[1, 2], [4, 12]]
    assert region.misfit((5, 13)) is None
    assert region.misfit((13, 5)) == f"13x5 in {tmp_path / 'a.png'}"


def test_corners_may_lie_on_the_border_of_the_frame_and_not_beyond(tmp_path):
    region = read_drawn_region(write(tmp_path / "a.json", {"inspect": [[[0, 0], [30, 0], [30, 20], [0, 20]]]}))
    assert region.misfit((20, 30)) is None
    assert region.pixels((20, 30)).all()
    assert region.size == (21, 31)
    assert region.misfit((20, 29)) == f"a corner at (30, 0) in {tmp_path / 'a.json'}"
    assert region.misfit((19, 30)) == f"a corner at (30, 20) in {tmp_path / 'a.json'}"
    outside = read_drawn_region(write(tmp_path / "b.json", {"ignore": [[[-1, 0], [3, 0], [3, 2]]]}))
    assert outside.misfit((20, 30)) == f"a corner at (-1, 0) in {tmp_path / 'b.json'}"


def test_regions_are_equal_if_they_inspect_the_same(tmp_path):
    path = write(tmp_path / "a.json", {"inspect": [SQUARE]})
    first = read_drawn_region(path)
    assert read_drawn_region(write(path, {"inspect": [SQUARE], "ignore": []})) == first
    assert read_drawn_region(write(path, {"inspect": [SQUARE], "ignore": [HOLE]})) != first
    picture = np.zeros((5, 13), np.uint8)
    seen = []
    for value in (0, 255, 250):
        picture[2, 2] = value
        cv2.imwrite(str(tmp_path / "a.png"), picture)
        seen.append(read_drawn_region(tmp_path / "a.png"))
    assert seen[0] != seen[1] == seen[2]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "line 1"),
        ("[]", "valid dictionary"),
        ('{"inspect": [[[1, 2], [3, 4]]]}', "inspect.0: "),
        ('{"inspect": [[[1, 2], [3, 4], [NaN, 1]]]}', "inspect.0.2.0: "),
        ('{"inspect": [[[1, 2], [3, 4], [5, 6, 7]]]}', "inspect.0.2: "),
        ('{"polygon": []}', "polygon: "),
        ("[" * 100_000, "recursion"),
        ("\xff", "line 1"),
        (" " * (1 << 20) + "{}", "more than 1048576 bytes"),
    ],
)
def test_wrong_polygons(content, found, tmp_path):
    with pytest.raises(InputError) as raised:
        read_drawn_region(write(tmp_path / "a.json", content))
    assert found in raised.value.found
    assert "polygons in" in raised.value.expected


def test_files_that_are_missing_no_file_no_picture_or_cannot_be_read(tmp_path, monkeypatch):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(InputError, match="no such file"):
            read_drawn_region(path)
    with pytest.raises(InputError, match="a picture that OpenCV can read"):
        read_drawn_region(write(tmp_path / "a.png", "no picture"))
    path = write(tmp_path / "a.json", "{}")
    monkeypatch.setattr(drawn_region.Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    with pytest.raises(InputError, match="denied"):
        read_drawn_region(path)


def test_degenerate_polygons_hold_their_outline():
    line = Polygons(inspect=(((3, 3), (3, 3), (6, 3)),))
    pixels = DrawnRegion(Path("a.json"), (4, 7), line).pixels((4, 7))
    assert np.argwhere(pixels).tolist() == [[3, x] for x in range(3, 7)]

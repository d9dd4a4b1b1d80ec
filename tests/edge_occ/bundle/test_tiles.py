"""Tiles: cut from a frame, and their maps put together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_occ.bundle.downscale import downscale
from edge_occ.bundle.manifest import Geometry
from edge_occ.bundle.pre_stage import PreStage, PreStageEngine
from edge_occ.bundle.tiles import Tiling
from engines.errors import FrameRefused
from engines.fake import CELL, GRID, FakeEngine, fake_graph

TILINGS = st.builds(
    Tiling, st.integers(1, 5), st.integers(1, 5), st.floats(0, 0.5), st.tuples(st.integers(2, 20), st.integers(2, 20))
)


def numbered(height, width):
    """A frame whose pixels tell their row and column."""
    rows, columns = np.indices((height, width), dtype=np.uint8)
    return np.stack([rows, columns, rows], 2)


@given(tiling=TILINGS)
def test_maps_of_tiles_that_are_not_resized_give_the_frame(tiling):
    frame = numbered(*tiling.map_size)
    for channel in (0, 1):
        maps = [tile[..., channel].astype(np.float32) for tile in tiling.cut(frame)]
        assert np.array_equal(tiling.stitch(maps), frame[..., channel])


@given(tiling=TILINGS, grown=st.tuples(st.integers(0, 150), st.integers(0, 150)))
def test_tiles_are_of_one_size_and_cover_the_frame(tiling, grown):
    height, width = (side + more for side, more in zip(tiling.map_size, grown, strict=True))
    frame = np.zeros((height, width, 3), np.uint8)
    tiles = tiling.cut(frame)
    assert len(tiles) == tiling.count == tiling.rows * tiling.columns
    assert {tile.shape for tile in tiles} == {(*tiling.tile((height, width)), 3)}
    for tile in tiles:
        tile[:] = 1  # a view
    assert frame.min() == 1


@given(tiling=TILINGS, grown=st.tuples(st.integers(0, 150), st.integers(0, 150)))
def test_a_tile_lies_where_its_map_lies(tiling, grown):
    whole = tiling.map_size
    height, width = (side + more for side, more in zip(whole, grown, strict=True))
    place = np.arange(height * width).reshape(height, width, 1).repeat(3, 2)
    for index, tile in enumerate(tiling.cut(place)):
        row, column = divmod(index, tiling.columns)
        top, left = divmod(int(tile[0, 0, 0]), width)
        first = [round(side * (1 - tiling.overlap)) * i for side, i in zip(tiling.size, (row, column), strict=True)]
        assert abs(top - first[0] * height / whole[0]) < 1
        assert abs(left - first[1] * width / whole[1]) < 1


@given(tiling=TILINGS, seed=st.integers(0, 99))
def test_where_tiles_overlap_the_higher_value_counts(tiling, seed):
    random = np.random.default_rng(seed)
    maps = [random.random(tiling.size, dtype=np.float32) for _ in range(tiling.count)]
    found = tiling.stitch(maps)
    step = [round(side * (1 - tiling.overlap)) for side in tiling.size]
    for y, x in random.integers(0, tiling.map_size, (20, 2)):
        values = []
        for index, tile in enumerate(maps):
            row, column = divmod(index, tiling.columns)
            inside = y - row * step[0], x - column * step[1]
            if 0 <= inside[0] < tiling.size[0] and 0 <= inside[1] < tiling.size[1]:
                values.append(tile[inside])
        assert found[y, x] == max(values)
    assert found.max() == max(tile.max() for tile in maps)


def test_one_tile_is_the_frame():
    frame = numbered(30, 50)
    (tile,) = Tiling(1, 1, 0.3, (10, 20)).cut(frame)
    assert np.array_equal(tile, frame)


def test_the_highest_tile_is_the_score_of_the_frame():
    size = (GRID * CELL, GRID * CELL)
    tiling = Tiling(3, 2, 0.25, size)
    frame = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    engine = PreStageEngine(FakeEngine(fake_graph()), PreStage(size, tiling=tiling))
    small = PreStageEngine(FakeEngine(fake_graph()), PreStage(size))
    found, tiles = engine.infer(frame), [small.infer(tile) for tile in tiling.cut(frame)]
    assert found.score == max(tile.score for tile in tiles) == found.map.max()
    assert np.array_equal(found.map, tiling.stitch([tile.map for tile in tiles]))
    (features,) = engine.features(frame)
    assert features.shape == (6, GRID, GRID, 3)
    own = FakeEngine(fake_graph()).features(downscale(tiling.cut(frame)[4], size))
    assert np.array_equal(features[4], own[0])
    with pytest.raises(FrameRefused):
        engine.infer(frame[:0])
    engine.infer(frame[:1, :1])  # smaller than the tiles: their maps are of the same pixel


@pytest.mark.parametrize(
    "changes",
    [{"frame": None}, {"downscaling": None}, {"frame": (96, 159)}, {"tiles": (17, 1, 0)}, {"tiles": (2, 1, 0.6)}],
)
def test_a_manifest_whose_tiles_are_wrong_is_refused(changes):
    fields = {
        "size": (96, 96),
        "window": 64,
        "stride": 8,
        "grid": (5, 5),
        "downscaling": "halving",
        "frame": (96, 168),
        "tiles": (2, 1, 0.25),
    }
    assert Geometry.model_validate(fields).map_size == (96, 168)
    with pytest.raises(ValidationError):
        Geometry.model_validate({**fields, **changes})

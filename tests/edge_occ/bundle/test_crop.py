"""A crop: the same share of every frame, and its score map back in the frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from edge_occ.bundle.crop import Crop
from edge_occ.bundle.cut_out import cut_out, map_in_frame
from edge_occ.bundle.downscale import downscale
from edge_occ.bundle.manifest import Geometry
from edge_occ.bundle.pre_stage import PreStage, PreStageEngine
from edge_occ.bundle.tiles import Tiling
from engines.fake import CELL, GRID, FakeEngine, fake_graph

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@st.composite
def crops(draw):
    height, width = draw(SIZES)
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    return Crop(
        top, left, draw(st.integers(1, height - top)), draw(st.integers(1, width - left)), frame=(height, width)
    )


@given(crop=crops())
def test_of_a_training_image_it_is_the_rectangle(crop):
    frame = np.random.default_rng(0).integers(0, 256, (*crop.frame, 3), dtype=np.uint8)
    cut = crop.cut(frame)
    assert np.array_equal(cut, frame[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width])
    assert crop.size(crop.frame) == (crop.height, crop.width) == cut.shape[:2]
    assert np.array_equal(cut_out(frame, crop.rectangle(crop.frame)), cut)


@given(crop=crops(), frame=SIZES)
def test_of_another_frame_it_is_the_same_share_and_never_empty(crop, frame):
    for one, first, count, of, pixels in zip(
        crop.slices(frame), (crop.top, crop.left), (crop.height, crop.width), crop.frame, frame, strict=True
    ):
        assert 0 <= one.start < one.stop <= pixels
        assert abs(one.start - first * pixels / of) < 1
        assert one.stop - one.start == 1 or abs(one.stop - (first + count) * pixels / of) < 1


def test_the_score_is_that_of_the_crop_and_its_map_lies_there_in_the_frame():
    size = (GRID * CELL, GRID * CELL)
    crop = Crop(20, 50, 60, 80, frame=(100, 150))
    frame = np.random.default_rng(0).integers(0, 256, (100, 150, 3), dtype=np.uint8)
    stage = PreStage(size, crop=crop)
    found = PreStageEngine(FakeEngine(fake_graph()), stage).infer(frame)
    alone = FakeEngine(fake_graph()).infer(downscale(np.ascontiguousarray(frame[20:80, 50:130]), size))
    assert found.score == alone.score
    assert np.array_equal(found.map, map_in_frame(alone.map, crop.rectangle((100, 150)), frame.shape))
    assert np.array_equal(found.map, stage.in_frame(alone.map, frame))
    (rows, columns), scale = np.nonzero(found.map), np.array(frame.shape[:2]) / found.map.shape
    assert (rows.min() * scale[0], columns.min() * scale[1]) >= (20 - scale[0], 50 - scale[1])
    assert (rows.max() * scale[0], columns.max() * scale[1]) <= (80, 130)
    changed = frame.copy()
    changed[:20], changed[80:], changed[:, :50], changed[:, 130:] = 0, 0, 0, 0
    assert PreStageEngine(FakeEngine(fake_graph()), stage).infer(changed).score == found.score


def test_without_a_crop_a_map_stays_as_it_is():
    score_map = np.ones((4, 4), np.float32)
    assert PreStage((8, 8)).in_frame(score_map, np.zeros((30, 40, 3), np.uint8)) is score_map


def test_a_crop_goes_with_no_tiles():
    with pytest.raises(ValueError, match="more than one"):
        PreStage((8, 8), tiling=Tiling(2, 1, 0.1, (8, 8)), crop=Crop(0, 0, 1, 1, (2, 2)))


@pytest.mark.parametrize(
    "changes",
    [
        {"frame": None},
        {"downscaling": None},
        {"tiles": (1, 1, 0.0)},
        {"crop": (41, 10, 60, 80)},
        {"crop": (20, 71, 60, 80)},
        {"crop": (-1, 10, 60, 80)},
        {"crop": (20, 10, 0, 80)},
    ],
)
def test_a_manifest_whose_crop_is_wrong_is_refused(changes):
    fields = {
        "size": (96, 96),
        "window": 64,
        "stride": 8,
        "grid": (5, 5),
        "downscaling": "halving",
        "frame": (100, 150),
        "crop": (40, 70, 60, 80),
    }
    geometry = Geometry.model_validate(fields)
    assert geometry.viewed == (60, 80)
    assert geometry.pre_stage.crop == Crop(40, 70, 60, 80, (100, 150))
    with pytest.raises(ValidationError):
        Geometry.model_validate({**fields, **changes})

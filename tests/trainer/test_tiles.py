"""A training on tiles: heads that all tiles share, and a threshold for whole frames."""

import json

import cv2
import numpy as np
import pytest
from discs import TINY, write
from pydantic import ValidationError
from typer.testing import CliRunner
from wide import FRAME, SPOT, make_wide_data, spoilt, wide

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.pose import Pose
from edge_occ.bundle.pre_stage import PreStage, PreStageEngine
from edge_occ.cli import app
from edge_occ.common.errors import InputError
from edge_occ.common.images import find_images, read_image
from edge_occ.inspection.regions import find_boxes
from engines.onnxruntime import OnnxRuntimeEngine
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images
from trainer.data.tiled_images import tiled_images
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.review.stored_features import features_path
from trainer.train import train

TILES, SIZE, WHOLE = (2, 1, 0.25), (96, 96), (96, 168)


def job(data, out, **inputs):
    settings = {**TINY, "input": {"size": 96, "tiles": TILES, **inputs}, "export": {"fp16": True, "int8": False}}
    return Job(data, out, TrainConfig.model_validate(settings), "tiny", 0, "cpu", "edge-occ train")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_wide_data(tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "tiles.occ"
    train(job(data, out))
    return out


@pytest.fixture(scope="module")
def bundle(trained):
    return read_bundle(trained)


def edge_occ(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_manifest_describes_the_tiles(bundle, trained):
    geometry = bundle.manifest.geometry
    assert (geometry.tiles, geometry.size, geometry.map_size, geometry.frame) == (TILES, SIZE, WHOLE, FRAME)
    assert bundle.manifest.precisions["fp16"].images == 16 + 2 * 16
    assert "cut into 2 x 1 tiles that overlap by 25%" in " ".join(bundle.model_card.split())
    assert "in each of 2 x 1 tiles, overlap 25%" in trained.with_suffix(".html").read_text(encoding="utf-8")


def test_the_threshold_is_calibrated_on_frames_not_on_tiles(bundle):
    calibration = bundle.manifest.calibration
    assert (calibration.n, len(bundle.held_out)) == (16, 16)


def test_a_frame_has_the_score_of_its_highest_tile(bundle, data):
    loaded, small = load_engine(bundle, "cpu"), PreStageEngine(OnnxRuntimeEngine(bundle.graph()), PreStage(SIZE))
    for path in find_images(data / "test" / "spot"):
        frame = read_image(path)
        found = loaded.engine.infer(frame)
        tiles = [small.infer(np.ascontiguousarray(frame[:, left : left + 115])) for left in (0, 85)]
        assert found.score == max(tile.score for tile in tiles)
        assert found.map.shape == WHOLE
    loaded.engine.close()


def test_good_training_images_score_like_held_out_ones(bundle, data):
    loaded = load_engine(bundle, "cpu")
    scores = [loaded.engine.infer(read_image(path)).score for path in find_images(data / "train" / "good")]
    loaded.engine.close()
    assert max(scores) <= bundle.held_out.max()


def test_map_and_box_are_where_the_defect_is(bundle):
    loaded = load_engine(bundle, "cpu")
    for seed in range(200, 204):
        scores = loaded.engine.infer(spoilt(seed))
        row, column = np.unravel_index(scores.map.argmax(), WHOLE)
        assert abs((column + 0.5) * FRAME[1] / WHOLE[1] - SPOT[0]) < 20
        assert abs((row + 0.5) * FRAME[0] / WHOLE[0] - SPOT[1]) < 20
        box = find_boxes(scores.map, bundle.manifest.calibration.threshold, FRAME)[0]
        assert box.x <= SPOT[0] <= box.x + box.width
        assert box.y <= SPOT[1] <= box.y + box.height
    loaded.engine.close()


def test_the_parity_gate_scores_tiles(bundle, trained):
    assert bundle.golden().maps.shape == (6, *SIZE)
    assert {frame.shape[:2] for frame in bundle.golden().frames} == {(112, 115)}
    assert "no verdict flipped" in edge_occ("verify", trained).output


def test_defects_are_found_and_frames_timed(trained, data):
    found = evaluate(trained, data)
    assert found.image_auroc == 1.0
    assert found.pixel_auroc > 0.9
    source = data / "test" / "spot"
    lines = edge_occ("run", "--bundle", trained, "--source", source, "--no-mqtt", "--json").stdout.splitlines()
    assert [json.loads(line).get("verdict") for line in lines[:4]] == ["anomalous"] * 4
    assert json.loads(edge_occ("bench", trained, "--frames", 10, "--json").stdout)["input"] == list(FRAME)


@pytest.mark.parametrize(
    ("tiles", "words"), [((3, 1, 0), "at least 192x128 pixels for 3 x 1 tiles of 64x128"), ((1, 2, 0), "tiles of")]
)
def test_tiles_larger_than_the_frame_are_refused(data, tmp_path, tiles, words):
    with pytest.raises(InputError, match=words) as error:
        train(job(data, tmp_path / "x.occ", tiles=tiles))
    assert (error.value.found, error.value.advice) == ("200x112", "use fewer tiles, or a smaller input.size")


def test_tiles_of_images_that_differ_in_size_are_refused(tmp_path):
    for i in range(8):
        image = wide(i)
        write(tmp_path / "good" / f"{i}.png", image if i else np.asarray(cv2.resize(image, (210, 112)), np.uint8))
    with pytest.raises(InputError, match=r"of one size for input\.tiles"):
        train(job(tmp_path / "good", tmp_path / "x.occ"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"pose": {"mode": "turn"}}, "needs whole parts"), ({"region": {"mode": "drawn.png"}}, "is of whole frames")],
)
def test_tiles_exclude_pose_and_region_files(settings, words):
    TrainConfig.model_validate(settings)
    with pytest.raises(ValidationError, match=words):
        TrainConfig.model_validate({**settings, "input": {"tiles": TILES}})


def test_pose_and_region_are_not_looked_for_in_tiles(data):
    config = TrainConfig.model_validate({"input": {"size": 96, "tiles": TILES}, "pose": {"mode": "auto"}})
    images = tiled_images(find_normal_images(data), config)
    assert (images.pose, images.tiles) == (None, TILES)
    assert images.shots == tuple(part for part in images.parts for _ in range(2))
    pose = Pose(height=64, width=144, side=256, contrast=0.5, area=500, elongation=0.4, skewness=0.07)
    with pytest.raises(ValueError, match="more than one of pose, tiles and crop"):
        PreStage(SIZE, pose, images.stage(SIZE).tiling)


def test_a_bundle_with_tiles_has_no_features_file_and_no_review(trained, tmp_path):
    assert not features_path(trained).exists()
    result = CliRunner().invoke(app, ["review", str(trained), "--out", str(tmp_path / "review.html")])
    assert (result.exit_code, "cut into tiles" in result.output) == (2, True)

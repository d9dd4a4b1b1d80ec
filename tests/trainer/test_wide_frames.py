"""A training on frames that are not square keeps their shape, from the images to boxes and heatmaps."""

import json

import cv2
import numpy as np
import pytest
import torch
from discs import TINY
from torch.nn import functional
from typer.testing import CliRunner
from wide import FRAME, SPOT, make_wide_data, spoilt

from edge_occ.bundle.bundle import MANIFEST, read_bundle
from edge_occ.bundle.loading import load_engine
from edge_occ.cli import app
from edge_occ.common.images import read_image
from edge_occ.inspection.regions import find_boxes
from engines.parity import measure_parity
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.pretrain.encoders import resized
from trainer.train import train

SIZE, GRID = (96, 160), (5, 13)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_wide_data(tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="module")
def bundle(data, tmp_path_factory):
    """Of a budget of 128 x 128 pixels; with every part of the pipeline that has a size."""
    config = TrainConfig.model_validate(
        {**TINY, "input": {"size": 128}, "map": {"image_score": "top"}, "export": {"fp16": False, "int8": False}}
    )
    out = tmp_path_factory.mktemp("bundle") / "wide.occ"
    train(Job(data, out, config, "tiny", 0, "cpu", "edge-occ train"))
    return out


def edge_occ(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_the_manifest_describes_frame_size_and_grid(bundle):
    found = read_bundle(bundle)
    geometry = found.manifest.geometry
    assert (geometry.frame, geometry.size, geometry.grid, geometry.exact) == (FRAME, SIZE, GRID, True)
    assert json.loads(found.manifest.model_dump_json())["geometry"]["size"] == list(SIZE)
    assert found.manifest.training.config["input"]["size"] == 128, "the setting as it was given"
    assert {reference.shape for reference in found.golden().maps} == {SIZE}
    assert "resized to 160 x 96 pixels" in found.model_card
    assert "200 x 112, scored at 160 x 96" in bundle.with_suffix(".html").read_text(encoding="utf-8")
    assert MANIFEST not in found.members


def test_encoders_learn_from_images_of_this_shape(data):
    found = find_normal_images(data)
    images = resized(found, SIZE)
    assert images.shape == (16, 3, *SIZE)
    frame = torch.from_numpy(read_image(found.paths[0])).flip(2).permute(2, 0, 1).unsqueeze(0).float()
    expected = functional.interpolate(frame, SIZE, mode="bilinear", antialias=True)
    assert float((images[0].float() - expected[0]).abs().max()) <= 0.501


def test_the_bundle_verifies_and_engines_reproduce_its_golden_frames(bundle):
    assert "no verdict flipped" in edge_occ("verify", bundle).output
    found = read_bundle(bundle)
    for engine in ("cpu", "openvino"):
        if engine == "openvino":
            pytest.importorskip("openvino")
        loaded = load_engine(found, engine)
        assert measure_parity(loaded.engine, found.golden(), found.tolerance()).score_error <= found.tolerance()
        loaded.engine.close()


def test_map_and_box_are_where_the_defect_is(bundle):
    found = read_bundle(bundle)
    loaded = load_engine(found, "cpu")
    for seed in range(200, 204):
        scores = loaded.engine.infer(spoilt(seed))
        assert scores.map.shape == SIZE
        row, column = np.unravel_index(scores.map.argmax(), SIZE)
        x, y = (column + 0.5) * FRAME[1] / SIZE[1], (row + 0.5) * FRAME[0] / SIZE[0]
        assert abs(x - SPOT[0]) < 20
        assert abs(y - SPOT[1]) < 20
        box = find_boxes(scores.map, found.manifest.calibration.threshold, FRAME)[0]
        assert box.x <= SPOT[0] <= box.x + box.width
        assert box.y <= SPOT[1] <= box.y + box.height
    loaded.engine.close()


def test_an_evaluation_finds_the_defects_and_their_pixels(bundle, data):
    found = evaluate(bundle, data)
    assert found.image_auroc == 1.0
    assert found.pixel_auroc > 0.9


def test_run_and_bench_work_on_wide_frames(bundle, data, tmp_path):
    lines = edge_occ("run", "--bundle", bundle, "--source", data / "test" / "spot", "--no-mqtt", "--json").stdout
    records = [json.loads(line) for line in lines.splitlines()]
    assert [record["verdict"] for record in records if "verdict" in record] == ["anomalous"] * 4
    timed = json.loads(edge_occ("bench", bundle, "--frames", 10, "--json").stdout)
    assert (timed["input"], timed["grid"]) == (list(FRAME), list(GRID))
    assert timed["dense"]["max_abs_difference"] < 1e-3


def test_large_frames_are_halved_along_each_axis_by_itself(bundle):
    """An axis of less than twice its own side stays as it is."""
    loaded = load_engine(read_bundle(bundle), "cpu")
    tall = np.asarray(cv2.resize(spoilt(200), (319, 192), interpolation=cv2.INTER_LINEAR), np.uint8)
    halved = np.asarray(cv2.resize(tall, (319, 96), interpolation=cv2.INTER_AREA), np.uint8)
    assert loaded.engine.infer(tall).score == loaded.engine.infer(halved).score
    loaded.engine.close()

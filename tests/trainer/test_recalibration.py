"""Bundles of every kind recalibrated: regions, poses, tiles, several heads, and heads that a device cannot fit."""

import json
import shutil
from contextlib import closing

import numpy as np
import pytest
from discs import TINY, part, write
from parts import picture
from typer.testing import CliRunner
from wide import make_wide_data, wide

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.fit_heads import HeadFitter
from edge_occ.bundle.loading import load_engine
from edge_occ.bundle.recalibration import require_fitter
from edge_occ.cli import app
from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from trainer.config import TrainConfig
from trainer.job import Job
from trainer.review.stored_features import read_features
from trainer.train import train

LITE0 = {
    "input": {"size": 64},
    "encoder": {"name": "lite0", "blocks": [0, 1]},
    "pretext": {"name": "none"},
    "calibration": {"folds": 2, "false_alarm_rate": 0.1},
    "export": {"fp16": False, "int8": False},
}
"""No training, random features: a bundle in seconds."""

FUSED = {
    "head": {"dim": 8, "floor": 0.05, "scope": ["per-position", "shared"], "standardise": [True, False]},
    "further_branches": [
        {
            "encoder": {"name": "lite0", "blocks": [0]},
            "pretext": {"name": "none"},
            "head": {"dim": 6, "scope": "position-mean"},
            "map": {"image_score": "top", "top_fraction": 0.05},
        }
    ],
    "fusion": {"score_weights": [1, 2, 3], "map_weights": [1, 0, 1]},
}


def trained(data, out, **changes):
    train(Job(data, out, TrainConfig.model_validate({**LITE0, **changes}), "tiny", 0, "cpu", "edge-occ train"))
    return out


@pytest.fixture(scope="module")
def fused(tiny_data, tmp_path_factory):
    """A bundle of several heads of two branches; not to be changed, copy it."""
    return trained(tiny_data, tmp_path_factory.mktemp("fused") / "x.occ", **FUSED)


def recalibrated(path, data, *options, code=0):
    command = ["recalibrate", str(path), "--data", str(data), "--engine", "cpu", "--json", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return json.loads(result.stdout) if code == 0 else result.stderr


def share_above(path, images):
    bundle = read_bundle(path)
    with closing(load_engine(bundle, "cpu").engine) as engine:
        scores = [engine.infer(image).score for image in images]
    return float(np.mean(np.array(scores) > bundle.manifest.calibration.threshold))


@pytest.fixture(scope="module")
def darker(tmp_path_factory):
    """Thirty discs under a weak lamp."""
    folder = tmp_path_factory.mktemp("darker")
    for i in range(30):
        write(folder / f"{i:03}.png", (part(7000 + i) * 0.7).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"dim": 8, "scope": "shared", "standardise": True}, "region": {"mode": "auto"}},
        {
            "head": {"dim": 8, "trim": 0.2, "scope": "position-mean", "regulariser": "low-rank", "components": 3},
            "map": {"upsampling": "paper", "sigma": 10, "image_score": "top", "top_fraction": 0.02},
        },
        None,
    ],
    ids=["standardised in a region", "trimmed and of low rank", "fused"],
)
def test_the_new_heads_are_right_for_the_new_light(request, tiny_data, darker, tmp_path, changes):
    if changes is None:
        path = shutil.copy(request.getfixturevalue("fused"), tmp_path / "x.occ")
    else:
        path = trained(tiny_data, tmp_path / "x.occ", **changes)
    good = [(part(8000 + i) * 0.7).astype(np.uint8) for i in range(30)]
    before = share_above(path, good)
    done = recalibrated(path, darker)
    assert done["calibration_n"] == 24
    assert done["threshold"]["new"] != done["threshold"]["old"]
    assert share_above(path, good) <= 0.3 < before
    again = CliRunner().invoke(app, ["verify", str(path), "--engine", "cpu"])
    assert again.exit_code == 0, again.output
    # And once more, from the heads that the device has fitted.
    recalibrated(path, darker)


@pytest.mark.parametrize("kind", ["region", "fused"])
def test_a_device_fits_what_the_training_fitted(request, tiny_data, tmp_path, kind):
    """From the same features, stored beside the bundle with float16."""
    if kind == "fused":
        path = request.getfixturevalue("fused")
    else:
        path = trained(tiny_data, tmp_path / "x.occ", head={"dim": 8}, region={"mode": "auto"})
    bundle = read_bundle(path)
    assert bundle.manifest.recipe is not None
    features = [of.astype(np.float32) for of in read_features(path, bundle.manifest).features]
    fitted = HeadFitter(bundle.manifest.recipe, bundle.manifest.geometry.size).fit(features, 0.1)
    np.testing.assert_allclose(fitted.held_out, bundle.held_out, rtol=0.02)
    assert fitted.head.keys() == bundle.head.keys()
    for name, tensor in fitted.head.items():
        np.testing.assert_allclose(tensor, bundle.head[name], rtol=0.03, atol=0.03 * np.abs(tensor).max())
    assert fitted.calibration.threshold == pytest.approx(bundle.manifest.calibration.threshold, rel=0.02)


def test_parts_that_are_turned_and_frames_without_one(tmp_path):
    def pin(index, light):
        random = np.random.default_rng(index)
        frame = picture(degrees=random.uniform(0, 360), centre=tuple(random.uniform(115, 141, 2))).astype(float)
        return np.clip(light * (frame + random.normal(0, 2, frame.shape)), 0, 255).astype(np.uint8)

    for i in range(12):
        write(tmp_path / "old" / f"{i:03}.png", pin(i, 1))
    for i in range(30):
        write(tmp_path / "new" / f"{i:03}.png", pin(100 + i, 0.9))
    empty = np.random.default_rng(0).normal(180, 2, (256, 256, 3)).astype(np.uint8)
    write(tmp_path / "new" / "030.png", empty)
    settings = {"input": {"size": 128}, "pose": {"mode": "auto"}, "head": {"dim": 8, "floor": 0.05}}
    path = trained(tmp_path / "old", tmp_path / "x.occ", **settings)
    assert read_bundle(path).manifest.geometry.pose is not None
    done = recalibrated(path, tmp_path / "new", "--set", "guards.black=false", "--set", "guards.torn=false")
    assert (done["frames"], sum(done["left_out"].values())) == (30, 1)
    assert set(done["left_out"]) & {"no part", "part too small"}
    assert share_above(path, [pin(300 + i, 0.9) for i in range(10)]) <= 0.3


def test_tiles_of_a_frame_are_shots_of_one_part(tmp_path):
    data = make_wide_data(tmp_path / "wide")
    settings = {
        **TINY,
        "input": {"size": 96, "tiles": (2, 1, 0.25)},
        "calibration": {"false_alarm_rate": 0.1},
        "export": {"fp16": False, "int8": False},
    }
    path = tmp_path / "tiles.occ"
    train(Job(data, path, TrainConfig.model_validate(settings), "tiny", 0, "cpu", "edge-occ train"))
    for i in range(30):
        write(tmp_path / "new" / f"{i:03}.png", (wide(500 + i) * 0.9).astype(np.uint8))
    done = recalibrated(path, tmp_path / "new")
    assert (done["frames"], done["calibration_n"]) == (30, 24)
    assert read_bundle(path).manifest.geometry.tiles is not None
    assert share_above(path, [(wide(900 + i) * 0.9).astype(np.uint8) for i in range(20)]) <= 0.3


def test_heads_of_other_kinds_keep_theirs(tiny_data, darker, tmp_path):
    path = trained(tiny_data, tmp_path / "x.occ", head={"dim": 8, "kind": "knn", "scope": "shared"})
    message = recalibrated(path, darker, code=2)
    assert "heads of another kind" in message
    assert "--threshold-only" in message
    done = recalibrated(path, darker, "--threshold-only")
    assert done["threshold_only"]
    assert share_above(path, [read_image(p) for p in sorted(darker.iterdir())[:24]]) <= 0.1


def test_the_feature_of_a_whole_image_keeps_its_heads(tiny_data, darker, tmp_path):
    settings = {"encoder": {"name": "resnet18", "base_width": 8}, "head": {"dim": 8, "scope": "shared"}}
    path = trained(tiny_data, tmp_path / "x.occ", **settings)
    with pytest.raises(InputError, match="--threshold-only"):
        require_fitter(read_bundle(path))
    shutil.copy(path, tmp_path / "copy.occ")
    recalibrated(tmp_path / "copy.occ", darker, "--threshold-only")

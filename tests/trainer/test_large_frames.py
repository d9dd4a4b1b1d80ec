"""A training on large frames uses the same downscaled frames as the device."""

import cv2
import numpy as np
import pytest
import torch
from discs import part, write
from torch.nn import functional

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.downscale import downscale
from edge_occ.bundle.loading import load_engine
from edge_occ.common.images import find_images, read_image
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import measure_parity
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.pretrain.encoders import resized
from trainer.train import train

SETTINGS = {
    "input": {"size": 64},
    "encoder": {"name": "lite0", "blocks": [0, 1]},
    "pretext": {"name": "none"},
    # Features of all good parts: those are the nearest to themselves.
    "head": {"kind": "nearest", "scope": "shared", "dim": 8, "references": 20_000},
    "calibration": {"folds": 2},
    "export": {"fp16": True, "int8": False},
}


def large(seed):
    """A part of 400 x 270 pixels, with noise that no filter but the same one makes the same of."""
    frame = cv2.resize(part(seed), (400, 270), interpolation=cv2.INTER_NEAREST).astype(float)
    return np.clip(frame + np.random.default_rng(seed).normal(0, 40, frame.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    for i in range(12):
        write(folder / "train" / "good" / f"{i:03}.png", large(i))
    for i in range(3):
        write(folder / "test" / "good" / f"{i:03}.png", large(100 + i))
        spoilt = large(200 + i)
        cv2.circle(spoilt, (200, 135), 40, (20, 20, 220), -1)
        write(folder / "test" / "spot" / f"{i:03}.png", spoilt)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "large.occ"
    train(Job(data, out, TrainConfig.model_validate(SETTINGS), "tiny", 0, "cpu", "edge-occ train"))
    return out


@pytest.fixture(scope="module")
def bundle(trained):
    return read_bundle(trained)


def test_the_manifest_describes_downscaling_and_frame_size(bundle):
    assert bundle.manifest.geometry.downscaling == "halving"
    assert bundle.manifest.geometry.frame == (270, 400)


def test_the_head_is_fitted_on_frames_as_the_device_scores_them(bundle, data):
    frames = [read_image(path) for path in find_images(data / "train" / "good")]
    loaded, graph = load_engine(bundle, "cpu"), OnnxRuntimeEngine(bundle.graph())
    threshold = bundle.manifest.calibration.threshold
    assert max(loaded.engine.infer(frame).score for frame in frames) < 1e-3 * threshold
    assert min(graph.infer(frame).score for frame in frames) > 1e-2 * threshold, "another filter, other features"
    loaded.engine.close()


def test_pretraining_uses_the_same_downscaled_frames(data):
    images = resized(find_normal_images(data), (64, 64))
    for image, path in zip(images, find_images(data / "train" / "good"), strict=True):
        small = torch.from_numpy(downscale(read_image(path), (64, 64))).flip(2).permute(2, 0, 1).unsqueeze(0).float()
        expected = functional.interpolate(small, (64, 64), mode="bilinear", antialias=True)
        assert float((image.float() - expected[0]).abs().max()) <= 0.501


def test_golden_frames_are_kept_large_and_their_reference_is_of_downscaled_ones(bundle):
    golden = bundle.golden()
    assert {frame.shape for frame in golden.frames} == {(270, 400, 3)}
    assert measure_parity(OnnxRuntimeEngine(bundle.graph()), golden, 1e-3).score_error > 1e-2
    for precision in ("fp32", "fp16"):
        loaded = load_engine(bundle, "cpu", precision)
        assert loaded.parity.score_error <= bundle.tolerance(precision)
        loaded.engine.close()


def test_a_precision_is_compared_on_the_same_frames(bundle):
    record = bundle.manifest.precisions["fp16"]
    assert record.included
    assert record.score_error < 3e-2


def test_defects_are_found(trained, data):
    found = evaluate(trained, data)
    assert len(found.defects) == len(found.good) == 3
    assert found.image_auroc == 1.0

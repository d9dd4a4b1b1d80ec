"""What keeps a graph in less than fp32 out of the bundle, and what an int8 graph brings along."""

import dataclasses

import numpy as np
import pytest
import torch

from edge_occ.bundle import read_bundle
from edge_occ.images import find_images
from edge_occ.manifest import Precision
from engines.cpu import OnnxRuntimeEngine
from engines.parity import measure_parity
from trainer import precisions
from trainer.config import HeadConfig
from trainer.precisions import LEAST_AGREEMENT, Trial, reduce_to_fp16, reduce_to_int8
from trainer.stage2 import CalibratedHead, fit_head


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def paths(tiny_data):
    return tuple(find_images(tiny_data / "train" / "good"))


def fitted(bundle):
    head = bundle.graph().head
    return CalibratedHead(precisions_head(head), bundle.held_out(), bundle.manifest.calibration)


def precisions_head(head):
    from trainer.heads.gaussian import GaussianHead

    return GaussianHead(torch.from_numpy(head["mean"].copy()), torch.from_numpy(head["whitening"].copy()))


@pytest.fixture(scope="module")
def trial(bundle, paths):
    return Trial(paths, bundle.graph(), fitted(bundle))


def test_the_bundle_says_what_was_measured(bundle):
    assert bundle.precisions == ("fp32", "fp16", "int8")
    assert set(bundle.manifest.precisions) == {"fp16", "int8"}
    for precision, compared in bundle.manifest.precisions.items():
        assert compared.included == (precision in bundle.precisions)
        assert compared.included == (compared.reason is None)
        assert 0 <= compared.agreement <= 1
        assert compared.images == 32
    assert bundle.manifest.precisions["fp16"].score_error < 3e-2
    assert bundle.manifest.precisions["fp16"].calibration is None
    own = bundle.manifest.precisions["int8"].calibration
    assert bundle.calibration("int8") == own != bundle.calibration("fp16") == bundle.calibration()
    assert bundle.judge("int8").judge(own.threshold * 1.01).anomalous
    assert not np.array_equal(bundle.held_out("int8"), bundle.held_out())
    assert np.array_equal(bundle.golden("int8").frames[0], bundle.golden().frames[0])
    assert set(bundle.manifest.parity_tolerance) == set(bundle.precisions)


def test_fp16_is_compared_on_the_same_pictures(bundle, trial):
    """fp32's own graph in the place of fp16's: nothing differs."""
    same = reduce_to_fp16(bundle.members["graph.fp32.onnx"], trial, bundle.golden())
    assert same.record.included
    assert same.record.agreement == 1
    assert same.record.score_error == 0
    assert same.record.auroc == same.record.auroc_fp32
    assert set(same.members) == {"graph.fp16.onnx"}


def test_fp16_with_other_verdicts_stays_out(bundle, trial):
    threshold = float(np.median(np.concatenate((trial.good, trial.pasted))))
    other = Trial.__new__(Trial)
    other.__dict__.update(trial.__dict__, good=trial.good[::-1], pasted=trial.pasted[::-1])
    calibration = trial.fitted.calibration.model_copy(update={"threshold": threshold})
    other.fitted = dataclasses.replace(trial.fitted, calibration=calibration)
    outcome = reduce_to_fp16(bundle.members["graph.fp32.onnx"], other, bundle.golden())
    assert not outcome.record.included
    assert "of its verdicts are those of fp32" in outcome.record.reason
    assert outcome.members == {}


def test_fp16_out_of_the_gates_tolerance_stays_out(bundle, trial):
    golden = dataclasses.replace(bundle.golden(), maps=bundle.golden().maps * np.float32(1.5))
    outcome = reduce_to_fp16(bundle.members["graph.fp32.onnx"], trial, golden)
    assert not outcome.record.included
    assert "map error" in outcome.record.reason
    assert outcome.members == {}


def record(**changes):
    base = {"included": True, "images": 100, "agreement": 1.0, "auroc": 0.98, "auroc_fp32": 0.98}
    return Precision(**{**base, "score_error": None, "calibration": None, "reason": None, **changes})


@pytest.mark.parametrize(
    ("changes", "objection"),
    [
        ({}, None),
        ({"agreement": LEAST_AGREEMENT}, None),
        ({"agreement": LEAST_AGREEMENT - 0.001}, "98.9% of its verdicts"),
        ({"auroc": 0.9755}, None),
        ({"auroc": 0.9745}, "its AUROC is 0.9745, that of fp32 0.9800"),
        ({"auroc": 0.99}, None),
    ],
)
def test_what_is_objected_to(changes, objection):
    found = precisions._objection(record(**changes))
    assert found is None if objection is None else found.startswith(objection)


def test_int8_has_a_head_of_its_own_features(bundle, trial, paths, monkeypatch):
    """The head it is given scores its own features of the training images as a Gaussian fitted to them must."""
    from trainer.config import TrainConfig
    from trainer.graph import ScoreMap

    monkeypatch.setattr(precisions, "LEAST_AGREEMENT", 0.0)
    monkeypatch.setattr(precisions, "MOST_AUROC_LOSS", 1.0)
    config = TrainConfig.model_validate(bundle.manifest.training.config)
    config = config.model_copy(update={"head": config.head.model_copy(update={"floor": 0.0})})
    score_map = ScoreMap(config.map, config.input.size, config.encoder.stride)
    seen = []

    def refit(features):
        seen.append(features)
        return fit_head(features, score_map, config, 0)

    outcome = reduce_to_int8(bundle.members["graph.fp16.onnx"], trial, bundle.golden(), paths, refit)
    assert outcome.record.included
    assert outcome.record.images == len(paths) + len(trial.pasted)
    assert set(outcome.members) == {"graph.int8.onnx", "head.int8.safetensors", "golden.int8.safetensors"}
    from edge_occ.members import golden_from, graph_from, held_out_from

    graph = graph_from(outcome.members["graph.int8.onnx"], "int8", outcome.members["head.int8.safetensors"])
    engine = OnnxRuntimeEngine(graph)
    assert seen[0].shape == (len(paths), 5, 5, config.head.dim)
    distance = precisions_head(graph.head).score(seen[0]).mean()
    assert 0.5 * config.head.dim < float(distance) <= 1.01 * config.head.dim  # mean squared Mahalanobis norm of the fit
    own = golden_from(
        bundle.members["golden.safetensors"],
        outcome.record.calibration.threshold,
        outcome.members["golden.int8.safetensors"],
    )
    parity = measure_parity(engine, own, 0.1)
    assert max(parity.score_error, parity.map_error) < 1e-5
    held_out = held_out_from(outcome.members["head.int8.safetensors"])
    assert np.sort(held_out)[-1] == outcome.record.calibration.threshold


def test_a_trial_pastes_the_same_every_time(bundle, trial):
    again, pasted = trial.scores(bundle.graph())
    assert np.array_equal(again, trial.good)
    assert np.array_equal(pasted, trial.pasted)
    only, same = trial.scores(bundle.graph(), pasted_only=True)
    assert len(only) == 0
    assert np.array_equal(same, trial.pasted)
    assert (trial.pasted != trial.good).mean() > 0.8
    assert HeadConfig().floor > 0

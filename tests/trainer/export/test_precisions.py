"""Comparison of fp16 and int8 graphs with fp32, and their exclusion from the bundle."""

import dataclasses

import numpy as np
import pytest
import torch

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.pre_stage import PreStage
from edge_occ.bundle.provenance import Precision
from edge_occ.common.images import find_images, read_image
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import measure_parity
from trainer.calibration.fit_heads import CalibratedHead, HeadCalibrator
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.export import precisions
from trainer.export.precisions import MIN_AGREEMENT, Fp32Baseline, objection, reduce_to_fp16, reduce_to_int8
from trainer.graph.branches import make_branch
from trainer.heads.fused import from_tensors


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def paths(tiny_data):
    return tuple(find_images(tiny_data / "train" / "good"))


@pytest.fixture(scope="module")
def fitted(bundle):
    head = {name: torch.from_numpy(value.copy()) for name, value in bundle.graph().head.items()}
    return CalibratedHead(
        from_tensors(["gaussian"], [head["mean"], head["whitening"]]),
        bundle.held_out,
        bundle.held_out,
        bundle.manifest.calibration,
    )


@pytest.fixture(scope="module")
def features(bundle, paths):
    engine = OnnxRuntimeEngine(bundle.graph())
    grids = [engine.features(read_image(path)) for path in paths]
    return [torch.from_numpy(np.stack(branch)) for branch in zip(*grids, strict=True)]


@pytest.fixture(scope="module")
def calibrator(bundle):
    config, size = TrainConfig.model_validate(bundle.manifest.training.config), bundle.manifest.geometry.size
    branches = [make_branch(make_encoder(b.encoder, size), b, size) for b in config.branches]
    return HeadCalibrator(branches, config, bundle.manifest.training.seed)


@pytest.fixture(scope="module")
def baseline(bundle, paths, fitted, features, calibrator):
    def held_out(others):
        return calibrator.held_out(features, others, fitted.head)

    return Fp32Baseline(paths, bundle.graph(), fitted, bundle.golden(), held_out, stage=PreStage((96, 96)))


def record(**changes):
    base = {"included": True, "images": 100, "agreement": 1.0, "auroc": 0.98, "auroc_fp32": 0.98}
    return Precision(**{**base, "score_error": 0.0, "flagged": 0, "flagged_fp32": 0, "reason": None, **changes})


def test_the_bundle_says_what_was_measured(bundle, baseline):
    assert bundle.precisions == ("fp32", "fp16", "int8")
    assert set(bundle.manifest.precisions) == {"fp16", "int8"}
    for name, compared in bundle.manifest.precisions.items():
        again = baseline.compare(bundle.graph(name))
        assert compared.included
        assert compared.reason is None
        assert compared.images == again.images == 2 * bundle.manifest.calibration.n == 32
        # The thresholds are the same, and so are the verdicts, but where a score differs in its last digit.
        assert compared.agreement == pytest.approx(again.agreement, abs=1 / 32)
        assert compared.auroc == pytest.approx(again.auroc, abs=0.01)
        assert compared.score_error == pytest.approx(again.score_error, rel=0.02)
    fp16, int8 = (bundle.manifest.precisions[name] for name in ("fp16", "int8"))
    assert 0 < fp16.score_error < int8.score_error
    assert set(bundle.manifest.parity_tolerance) == set(bundle.precisions)


def test_int8_has_a_reference_of_its_own_for_the_same_frames(bundle):
    own, common = bundle.golden("int8"), bundle.golden()
    assert np.array_equal(own.frames[0], common.frames[0])
    assert not np.array_equal(own.scores, common.scores)
    assert own.threshold == common.threshold
    parity = measure_parity(OnnxRuntimeEngine(bundle.graph("int8")), own, 0.1)
    assert max(parity.score_error, parity.map_error) < 1e-5
    assert np.array_equal(bundle.golden("fp16").scores, common.scores)


def test_fp32_agrees_with_itself(bundle, baseline):
    """Held-out scores recomputed from the exported graph's features are those of the calibration."""
    same = baseline.compare(bundle.graph())
    assert same.agreement == 1
    assert same.score_error < 1e-3
    assert same.auroc == pytest.approx(same.auroc_fp32, abs=1e-3)
    # The image whose score is the threshold is on neither side.
    assert same.flagged == same.flagged_fp32 == int((bundle.held_out > bundle.manifest.calibration.threshold).sum())
    assert same.images == 32


def test_a_graph_with_other_features_does_not_agree(bundle, paths, fitted, features, calibrator):
    """Every image gets the features of another one's double: all held-out scores are refused."""

    def held_out(others):
        return calibrator.held_out(features, [2 * grids + 1 for grids in others], fitted.head)

    baseline = Fp32Baseline(paths, bundle.graph(), fitted, bundle.golden(), held_out, stage=PreStage((96, 96)))
    compared = baseline.compare(bundle.graph())
    assert compared.flagged == len(paths)
    assert compared.flagged_fp32 < len(paths)
    assert objection(compared).endswith("less than 99%")
    outcome = reduce_to_fp16(bundle.members["graph.fp16.onnx"], baseline)
    assert not outcome.record.included
    assert outcome.record.reason == objection(compared)
    assert outcome.members == {}


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_graph_that_overflows_stays_out(bundle, paths, fitted, wrong):

    def held_out(others):
        return np.full(len(others[0]), wrong)

    baseline = Fp32Baseline(paths, bundle.graph(), fitted, bundle.golden(), held_out, stage=PreStage((96, 96)))
    compared = baseline.compare(bundle.graph())
    assert compared.flagged == len(paths)
    assert objection(compared).endswith("less than 99%")
    assert np.isfinite(compared.score_error)


def test_fp16_out_of_the_gates_tolerance_stays_out(bundle, paths, fitted, features, calibrator):
    golden = dataclasses.replace(bundle.golden(), maps=bundle.golden().maps * np.float32(1.5))

    def held_out(others):
        return calibrator.held_out(features, others, fitted.head)

    baseline = Fp32Baseline(paths, bundle.graph(), fitted, golden, held_out, stage=PreStage((96, 96)))
    outcome = reduce_to_fp16(bundle.members["graph.fp16.onnx"], baseline)
    assert not outcome.record.included
    assert "map error" in outcome.record.reason
    assert outcome.members == {}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, None),
        ({"agreement": MIN_AGREEMENT}, None),
        ({"agreement": MIN_AGREEMENT - 0.001}, "98.9% of its verdicts"),
        ({"auroc": 0.9755}, None),
        ({"auroc": 0.9745}, "its AUROC is 0.9745, that of fp32 is 0.9800"),
        ({"auroc": 0.99}, None),
    ],
)
def test_objections(changes, expected):
    found = objection(record(**changes))
    assert found is None if expected is None else found.startswith(expected)


def test_int8_is_in_the_bundle_unless_its_record_has_an_objection(bundle, baseline):
    """The outcome differs between processors, because the encoder is hardly trained."""
    outcome = reduce_to_int8(bundle.members["graph.fp16.onnx"], baseline)
    assert outcome.record.reason == objection(outcome.record)
    assert outcome.record.included == (outcome.record.reason is None) == bool(outcome.members)


@pytest.mark.parametrize("accepted", [0, 1, 2, None])
def test_int8_leaves_more_in_fp16_until_it_agrees(bundle, baseline, monkeypatch, accepted):
    kept, objections = [], [None if i == accepted else "not like fp32" for i in range(3)]
    monkeypatch.setattr(precisions, "quantise", lambda onnx, frames, head, n: kept.append(n) or onnx)
    monkeypatch.setattr(precisions, "objection", lambda _: objections[len(kept) - 1])
    monkeypatch.setattr(baseline, "compare", lambda graph: record())
    outcome = reduce_to_int8(bundle.members["graph.fp16.onnx"], baseline)
    assert kept == [1, 2, 4][: 3 if accepted is None else accepted + 1]
    assert outcome.record.included == (accepted is not None)
    assert set(outcome.members) == (set() if accepted is None else {"graph.int8.onnx", "golden.int8.safetensors"})


def test_the_same_is_pasted_every_time(bundle, baseline):
    engine = OnnxRuntimeEngine(bundle.graph())
    again = baseline.pasted_scores(engine)
    assert np.array_equal(again, baseline.pasted)
    clean = [engine.infer(read_image(path)).score for path in baseline.paths]
    assert (again > np.array(clean) * 1.01).mean() > 0.2

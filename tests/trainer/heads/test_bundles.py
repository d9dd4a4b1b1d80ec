"""A tiny bundle with a head of each kind, trained, written, read, and put through the parity gate."""

import pytest

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.manifest import FORMAT
from engines.base import HEADS
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import require_parity
from trainer.config import TrainConfig
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.train import train

SETTINGS = {
    "input": {"size": 64},
    "encoder": {"name": "lite0", "blocks": [0, 1]},
    "pretext": {"name": "none"},
    "calibration": {"folds": 2},
}


def trained(data, out, head, **changes):
    settings = {**SETTINGS, "head": {"dim": 8, "scope": "shared", **head}, "export": {"fp16": False, "int8": False}}
    config = TrainConfig.model_validate({**settings, **changes})
    return train(Job(data, out, config, "tiny", 0, "cpu", "edge-occ train"))


@pytest.mark.parametrize(
    "head",
    [
        {"kind": "kde", "references": 60},
        {"regulariser": "low-variance", "components": 3},
    ],
    ids=lambda head: next(iter(head.values())),
)
def test_a_kind_by_itself_makes_a_bundle(tiny_data, tmp_path, head):
    out = tmp_path / "x.occ"
    manifest = trained(tiny_data, out, head).manifest
    kind = head.get("kind", "gaussian")
    assert manifest.format == FORMAT
    assert manifest.head["kind"] == manifest.head["branches"][0]["kind"] == kind
    bundle = read_bundle(out)
    tensors = bundle.graph().head
    assert set(tensors) == set(HEADS[kind])
    if kind == "kde":
        assert tensors["references"].shape == (60, 8)
    if "components" in head:
        assert tensors["whitening"].shape == (1, 1, 3, 8)
    parity = require_parity(OnnxRuntimeEngine(bundle.graph()), bundle.golden(), 1e-4)
    assert parity.flipped == 0
    assert (bundle.held_out >= 0).all()
    words = f"A head of kind {kind}" if "kind" in head else f"A Gaussian (shared, {head['regulariser']})"
    assert words in bundle.members["MODEL_CARD.md"].decode()
    evaluation = evaluate(out, tiny_data)
    assert evaluation.calibration == manifest.calibration


def test_kinds_beside_each_other_make_a_bundle(tiny_data, tmp_path):
    further = ("knn", "ocsvm", "ocsvm-linear")
    fusion = {"score_weights": [1, 0, 1, 1], "map_weights": [0, 1, 1, 1]}
    trained(tiny_data, tmp_path / "x.occ", {"further_kinds": further, "references": 60}, fusion=fusion)
    bundle = read_bundle(tmp_path / "x.occ")
    assert bundle.manifest.head["branches"][0]["further_kinds"] == list(further)
    head = bundle.graph().head
    for place, kind in enumerate(further, 1):
        assert {name for name in head if name.endswith(f".{place}")} == {f"{name}.{place}" for name in HEADS[kind]}
    assert head["score_weights"][1] == head["map_weights"][0] == 0 < head["map_weights"][1]
    require_parity(OnnxRuntimeEngine(bundle.graph()), bundle.golden(), 1e-4)
    card = bundle.members["MODEL_CARD.md"].decode()
    assert "A Gaussian (shared, ledoit-wolf) and a head of kind knn" in card
    assert "are added with weights" in card


@pytest.mark.parametrize("kind", ["nearest", "knn"])
def test_nearest_neighbours_hold_in_fp16(tiny_data, tmp_path, kind, right_precisions):
    """They feel rounding most: parts that they were fitted on are at no distance."""
    manifest = trained(tiny_data, tmp_path / "x.occ", {"kind": kind}, export={"fp16": True, "int8": False}).manifest
    bundle = read_bundle(tmp_path / "x.occ")
    assert set(bundle.graph().head) == set(HEADS[kind])
    require_parity(OnnxRuntimeEngine(bundle.graph()), bundle.golden(), bundle.tolerance("fp32"))
    fp16 = manifest.precisions["fp16"]
    assert fp16.included or "fp16" not in right_precisions, fp16.reason
    if fp16.included:
        require_parity(OnnxRuntimeEngine(bundle.graph("fp16")), bundle.golden("fp16"), bundle.tolerance("fp16"))

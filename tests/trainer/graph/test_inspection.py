"""The fused graph: in torch against its branches, in ONNX Runtime against torch, and trained into a bundle."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from edge_occ.bundle.bundle import ENCODER_GRAPH, read_bundle
from edge_occ.bundle.manifest import FORMAT
from edge_occ.cli import app
from edge_occ.common.images import find_images, read_image
from engines.base import Graph
from engines.onnxruntime import EncoderRunner, OnnxRuntimeEngine
from engines.opencv import OpenCvEngine
from engines.openvino import OpenVinoEngine
from engines.parity import require_parity
from trainer.config import TrainConfig
from trainer.encoders.build import make_encoder
from trainer.evaluation.evaluate import evaluate
from trainer.export.onnx_graph import export_inspection_graph
from trainer.graph.branches import make_branch
from trainer.graph.inspection import InspectionGraph, exact_branch
from trainer.graph.preprocess import Preprocess
from trainer.heads.fused import FusedHead
from trainer.heads.gaussian import fit_gaussian
from trainer.job import Job
from trainer.train import train

DENSE = {
    "encoder": {"width": 4, "dim": 16},
    "optimiser": {"steps": 1, "batch": 2},
    "head": {"dim": 8, "floor": 0.05, "scope": ["shared", "per-position"]},
}
LITE = {
    "encoder": {"name": "lite0", "blocks": [0, 1]},
    "pretext": {"name": "none"},
    "head": {"dim": 8, "floor": 0.05, "scope": "per-position"},
}
REST = {"input": {"size": 96}, "calibration": {"folds": 3}, "export": {"fp16": False, "int8": False}}


def frames(n, size=(120, 100)):
    generator = np.random.default_rng(7)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(n)]


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    config = TrainConfig.model_validate({**DENSE, **REST, "further_branches": [LITE]})
    branches = []
    for branch in config.branches:
        encoder = make_encoder(branch.encoder, (96, 96)).eval()
        encoder.fuse()
        branches.append(make_branch(encoder, branch, (96, 96)))
    return InspectionGraph(branches, [branch.head.kinds for branch in config.branches], (96, 96)).eval()


@pytest.fixture(scope="module")
def head(graph):
    config = TrainConfig.model_validate({**DENSE, **REST, "further_branches": [LITE]})
    images = Preprocess((96, 96))(torch.from_numpy(np.stack(frames(8))))
    with torch.inference_mode():
        features = [branch.features(images) for branch in graph.branches]
    parts = [fit_gaussian(features[i], own) for i, own in config.heads]
    return FusedHead(tuple(parts), torch.tensor([0.5, 0.2, 0.3]), torch.tensor([0.1, 0.0, 2.0]))


def test_the_fused_score_is_the_weighted_sum_of_the_heads_scores(graph, head):
    dense, lite = graph.branches
    for frame in map(torch.from_numpy, frames(2)):
        with torch.inference_mode():
            score, score_map, *features = graph(frame, list(head.tensors().values()))
            image = Preprocess((96, 96))(frame[None])
            said = []
            for branch, part in ((dense, head.parts[0]), (dense, head.parts[1]), (lite, head.parts[2])):
                ((own_score, own_map),), _ = branch(image, [part])
                said.append((float(own_score), own_map[0]))
        assert float(score) == pytest.approx(0.5 * said[0][0] + 0.2 * said[1][0] + 0.3 * said[2][0], rel=1e-5)
        torch.testing.assert_close(score_map, 0.1 * said[0][1] + 2.0 * said[2][1])
        assert (score.shape, score_map.shape) == ((1,), (96, 96))
        assert [grid.shape for grid in features] == [(5, 5, 8), (12, 12, 8)]
        for branch, grid in zip((dense, lite), features, strict=True):
            with torch.inference_mode():
                assert torch.equal(grid, branch.features(image)[0])


def test_onnx_runtime_computes_what_torch_does(graph, head):
    tensors = {name: tensor.numpy() for name, tensor in head.tensors().items()}
    engine = OnnxRuntimeEngine(Graph(export_inspection_graph(graph, head), "fp32", tensors))
    for frame in [*frames(1), *frames(1, (40, 333))]:
        with torch.inference_mode():
            score, score_map, *features = graph(torch.from_numpy(frame), list(head.tensors().values()))
        found = engine.infer(frame)
        assert found.score == pytest.approx(float(score), rel=1e-4)
        np.testing.assert_allclose(found.map, score_map.numpy(), rtol=0, atol=1e-4 * float(score_map.max()))
        grids = engine.features(frame)
        assert [grid.shape for grid in grids] == [(5, 5, 8), (12, 12, 8)]
        for grid, expected in zip(grids, features, strict=True):
            np.testing.assert_allclose(grid, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_the_exact_branch_is_found_wherever_it_is(graph):
    dense, lite = graph.branches
    assert exact_branch([dense, lite]) == 0
    assert exact_branch([lite, dense, dense]) == 1
    assert exact_branch([lite]) is None


def trained(data, out, seed=0, **settings):
    config = TrainConfig.model_validate({**REST, **settings})
    train(Job(data, out, config, "tiny", seed, "cpu", "edge-occ train"))
    return out


@pytest.fixture(scope="module")
def two_branches(tiny_data, tmp_path_factory):
    """One that is not exact first; two heads on the one beside it."""
    return trained(tiny_data, tmp_path_factory.mktemp("two") / "two.occ", **LITE, further_branches=[DENSE])


def test_two_branches_make_one_bundle(two_branches, tiny_data):
    bundle = read_bundle(two_branches)
    manifest = bundle.manifest
    assert manifest.format == FORMAT
    geometry = manifest.geometry
    assert (geometry.branch, geometry.exact, geometry.window, geometry.grid) == (1, True, 64, (5, 5))
    assert [branch["encoder"] for branch in manifest.head["branches"]] == ["lite0", "dense"]
    evaluation = evaluate(two_branches, tiny_data)
    assert len(evaluation.good) == 6
    assert evaluation.calibration == manifest.calibration
    # The encoder that goes along is the exact one: on a window it has the features of the whole frame.
    frame = read_image(find_images(tiny_data / "test" / "good")[0])[:96, :96]
    window = EncoderRunner(bundle.members[ENCODER_GRAPH]).features(np.ascontiguousarray(frame[None, 8:72, 16:80]))
    features = OnnxRuntimeEngine(bundle.graph()).features(frame)
    assert [grid.shape for grid in features] == [(12, 12, 8), (5, 5, 8)]
    np.testing.assert_allclose(window[0, 0, 0], features[1][1, 2], rtol=1e-4, atol=1e-4)


def test_openvino_takes_several_heads(two_branches):
    pytest.importorskip("openvino")
    bundle = read_bundle(two_branches)
    parity = require_parity(OpenVinoEngine(bundle.graph()), bundle.golden(), bundle.tolerance())
    assert parity.score_error < 1e-4


class Fitted(Exception):
    """Ends a training before the export, and carries its graph and its heads."""


def test_an_ensemble_trains_a_model_a_seed_and_fuses_them(tiny_data, tmp_path, monkeypatch):
    settings = {**DENSE, "head": {"dim": 8, "floor": 0.05, "scope": "shared"}}
    bundle = read_bundle(trained(tiny_data, tmp_path / "both.occ", **settings, ensemble=2))
    assert bundle.manifest.training.steps == 2
    frame = read_image(find_images(tiny_data / "test" / "good")[0])
    first, second = OnnxRuntimeEngine(bundle.graph()).features(frame)
    assert not np.allclose(first, second, rtol=0.1, atol=0.1)
    # The second one is the model that the next seed gives by itself, with the same head.

    def stop(graph, fitted, *rest):
        raise Fitted(graph, fitted.head)

    monkeypatch.setattr("trainer.train.assemble", stop)
    with pytest.raises(Fitted) as end:
        trained(tiny_data, tmp_path / "alone.occ", seed=1, **settings)
    graph, head = end.value.args
    alone = head.tensors()
    with torch.inference_mode():
        _, _, features = graph(torch.from_numpy(frame), list(alone.values()))
    np.testing.assert_allclose(second, features.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bundle.graph().head["mean.1"], alone["mean"].numpy(), rtol=1e-4, atol=1e-4)
    assert set(bundle.graph().head) == {*alone, "mean.1", "whitening.1", "score_weights", "map_weights"}


@pytest.fixture(scope="module")
def in_a_region(tiny_data, tmp_path_factory):
    """Standardised heads, and one of the whole frame beside those of the user's region."""
    folder = tmp_path_factory.mktemp("region")
    (folder / "region.json").write_text(json.dumps({"inspect": [[[20, 20], [92, 20], [92, 92], [20, 92]]]}))
    own = {"scope": ["per-position", "position-mean"], "standardise": [True, False], "in_region": [True, False]}
    settings = {**LITE, "head": {"dim": 8, "floor": 0.05, **own}, "region": {"mode": str(folder / "region.json")}}
    fusion = {"score_weights": [1, 0], "map_weights": [0, 1]}
    top = {"image_score": "top", "top_fraction": 0.03}
    return trained(tiny_data, folder / "region.occ", **settings, fusion=fusion, map=top)


def test_a_bundle_without_an_exact_branch_has_no_encoder_graph(in_a_region):
    bundle = read_bundle(in_a_region)
    assert ENCODER_GRAPH not in bundle.members
    geometry = bundle.manifest.geometry
    assert (geometry.branch, geometry.exact, geometry.stride, geometry.grid) == (0, False, 8, (12, 12))
    assert "stage1_loss" not in bundle.manifest.metrics
    assert bundle.manifest.training.steps == 0


def test_a_region_and_standardised_heads_make_a_bundle(in_a_region):
    bundle = read_bundle(in_a_region)
    head = bundle.graph().head
    positions = head["log_mean"].shape[1]
    assert 36 <= positions < 144
    assert head["mean"].shape == (1, positions, 8)
    assert head["mean.1"].shape == (12, 12, 8)
    (branch,) = bundle.manifest.head["branches"]
    assert (branch["standardise"], branch["in_region"]) == ([True, False], [True, False])
    card = " ".join(bundle.model_card.split())
    assert "A Gaussian (per-position, standardised, in the region and one position-mean, ledoit-wolf)" in card
    assert "What lies outside raises no alarm" in in_a_region.with_suffix(".html").read_text(encoding="utf-8")
    result = CliRunner().invoke(app, ["verify", str(in_a_region)])
    assert result.exit_code == 0, result.output
    assert "no verdict flipped" in result.output


@pytest.mark.parametrize("runtime", [OnnxRuntimeEngine, OpenVinoEngine, OpenCvEngine])
def test_every_cpu_engine_reproduces_region_and_standardised_heads(in_a_region, runtime):
    if runtime is OpenVinoEngine:
        pytest.importorskip("openvino")
    bundle = read_bundle(in_a_region)
    parity = require_parity(runtime(bundle.graph()), bundle.golden(), bundle.tolerance())
    assert parity.flipped == 0


def test_pixels_outside_the_region_do_not_change_the_score(in_a_region, tiny_data):
    """But for the positions at its border, whose features see a little of it."""
    engine = OnnxRuntimeEngine(read_bundle(in_a_region).graph())
    frame = read_image(find_images(tiny_data / "test" / "good")[0])
    beside, inside = frame.copy(), frame.copy()
    beside[2:8, 60:70], inside[52:58, 60:70] = (20, 20, 220), (20, 20, 220)
    plain, of_beside, of_inside = (engine.infer(image) for image in (frame, beside, inside))
    assert of_beside.score == pytest.approx(plain.score, rel=0.02)
    assert of_inside.score > 1.1 * plain.score
    assert of_beside.map[2:8].max() > 2 * plain.map[2:8].max()  # the map is of the whole frame

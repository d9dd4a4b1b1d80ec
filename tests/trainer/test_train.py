"""The whole of stage 1 and 2 on tiny images."""

import numpy as np
import pytest

from edge_occ.bundle import read_bundle
from edge_occ.engine import DownscalingEngine
from edge_occ.images import find_images, read_image
from edge_occ.settings import load_settings, preset
from engines.cpu import OnnxRuntimeEngine
from engines.parity import require_parity
from trainer import processes
from trainer.config import TrainConfig
from trainer.evaluate import evaluate
from trainer.train import Job, train

CONFIG = {
    "input": {"size": 96},
    "encoder": {"width": 4, "dim": 16},
    "optimiser": {"steps": 3, "batch": 2},
    "head": {"dim": 8},
    "calibration": {"folds": 3},
    "export": {"fp16": False, "int8": False},
}


def job(data, out, seed=0, **changes):
    config = {**CONFIG, **changes}
    return Job(data, out, TrainConfig.model_validate(config), "tiny", seed, "cpu", "edge-occ train")


def test_a_seed_gives_one_bundle(tiny_data, tmp_path):
    first = train(job(tiny_data, tmp_path / "a.occ")).manifest
    second = train(job(tiny_data, tmp_path / "b.occ")).manifest
    for member in ("head.safetensors", "golden.safetensors", "graph.fp32.onnx"):
        assert first.members[member].sha256 == second.members[member].sha256, member
    assert first.calibration == second.calibration


def test_of_several_processes_the_first_alone_writes(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "rank", lambda: 1)
    with pytest.raises(SystemExit) as left:
        train(job(tiny_data, tmp_path / "new" / "x.occ"))
    assert left.value.code == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("scope", "stride"), [("shared", 16), ("per-position", 8), ("position-mean", 8)])
def test_every_scope_passes_its_own_gate(tiny_data, tmp_path, scope, stride):
    settings = {"encoder": {"width": 4, "dim": 16, "stride": stride}, "head": {"dim": 8, "scope": scope}}
    trained = train(job(tiny_data, tmp_path / "x.occ", **settings))
    grid = 5 if stride == 8 else 3
    assert trained.manifest.geometry.grid == (grid, grid)
    head = read_bundle(tmp_path / "x.occ").graph().head
    assert head["mean"].shape == ((1, 1, 8) if scope == "shared" else (grid, grid, 8))
    assert head["whitening"].shape == ((grid, grid, 8, 8) if scope == "per-position" else (1, 1, 8, 8))


def test_the_mean_of_the_top_is_exported_too(tiny_data, tmp_path):
    train(job(tiny_data, tmp_path / "x.occ", map={"image_score": "top", "top_fraction": 0.02}))
    engine = OnnxRuntimeEngine(read_bundle(tmp_path / "x.occ").graph())
    scores = engine.infer(read_image(find_images(tiny_data / "test" / "spot")[0]))
    highest = np.sort(scores.map.ravel())[-round(0.02 * 96 * 96) :]
    assert scores.score == pytest.approx(float(highest.mean()), rel=1e-5)


def test_held_out_scores_are_those_of_the_exported_graph_but_for_the_fold(tiny_data, tmp_path):
    """The final head has seen all images, so it scores them lower in the mean, by the same units."""
    train(job(tiny_data, tmp_path / "x.occ"))
    bundle = read_bundle(tmp_path / "x.occ")
    engine = OnnxRuntimeEngine(bundle.graph())
    seen = [engine.infer(read_image(path)).score for path in find_images(tiny_data / "train" / "good")]
    ratio = np.mean(seen) / np.mean(bundle.held_out)
    assert 0.2 < ratio < 1


REDUCED = (
    *("encoder.base_width=8", "pretext.hidden_width=16", "head.dim=16", "calibration.folds=3"),
    *("optimiser.steps=3", "optimiser.batch=4", "export.fp16=false"),
)


@pytest.mark.parametrize(("name", "size"), [("rotation", 32), ("contrastive-da", 96)])
def test_the_two_stage_papers_presets_make_bundles(tiny_data, tmp_path, name, size):
    settings = load_settings(TrainConfig, [preset(name)], [*REDUCED, f"input.size={size}"])
    out = tmp_path / "x.occ"
    train(Job(tiny_data, out, settings, name, 0, "cpu", "edge-occ train"))
    bundle = read_bundle(out)
    geometry = bundle.manifest.geometry
    assert (geometry.size, geometry.grid, geometry.exact) == (size, (1, 1), False)
    assert bundle.manifest.training.config["views"]["enabled"]
    engine = DownscalingEngine(OnnxRuntimeEngine(bundle.graph()), size)
    require_parity(engine, bundle.golden(), bundle.manifest.parity_tolerance["fp32"])
    evaluation = evaluate(out, tiny_data)
    assert 0 <= evaluation.image_auroc <= 1
    assert len(evaluation.records) == 13


@pytest.mark.data
@pytest.mark.parametrize("name", ["rotation", "contrastive-da"])
def test_the_two_stage_papers_presets_inspect_real_parts(shared_data, tmp_path, name):
    data = tmp_path / "bottle"
    for kind, count in (("train/good", 32), ("test/good", 6), ("test/broken_large", 6)):
        data.joinpath(kind).mkdir(parents=True)
        for path in find_images(shared_data / "mvtec_ad" / "bottle" / kind)[:count]:
            data.joinpath(kind, path.name).symlink_to(path)
    settings = load_settings(TrainConfig, [preset(name)], ["optimiser.steps=5", "export.fp16=false"])
    train(Job(data, tmp_path / "x.occ", settings, name, 0, "cpu", "edge-occ train"))
    assert evaluate(tmp_path / "x.occ", data).image_auroc > 0.8  # all but untrained, and large defects

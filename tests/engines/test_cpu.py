"""ONNX Runtime against torch on a real bundle; what runs on a device."""

import subprocess
import sys

import numpy as np
import pytest

from edge_occ.bundle import ENCODER_GRAPH, read_bundle
from engines.base import Graph
from engines.cpu import EncoderRunner, OnnxRuntimeEngine
from engines.errors import EngineUnavailable, ParityFailure, UserError
from engines.parity import Golden
from engines.select import open_engine


@pytest.fixture
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


def test_it_passes_the_gate_far_within_tolerance(bundle):
    engine, parity = open_engine("auto", bundle.graph(), bundle.golden(), bundle.tolerance())
    assert engine.name == "cpu"
    assert engine.precision == "fp32"
    assert parity.score_error < 1e-4
    engine.close()


def test_frames_of_any_size_are_scored_the_same_twice(bundle):
    engine = OnnxRuntimeEngine(bundle.graph(), threads=1)
    generator = np.random.default_rng(0)
    for size in ((96, 96), (64, 200), (480, 640), (31, 77)):
        frame = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        first, second = engine.infer(frame), engine.infer(frame)
        assert first.score == second.score == first.map.max()
        assert first.map.shape == (96, 96)
        assert first.map.dtype == np.float32
    flipped = frame[:, ::-1]  # a view with negative strides
    assert engine.infer(flipped).score == engine.infer(flipped.copy()).score


def test_dense_features_are_those_of_the_windows(bundle):
    engine, encoder = OnnxRuntimeEngine(bundle.graph()), EncoderRunner(bundle.members[ENCODER_GRAPH])
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    dense = engine.features(frame)
    windows = np.stack([frame[y : y + 64, x : x + 64] for y in range(0, 33, 8) for x in range(0, 33, 8)])
    np.testing.assert_allclose(encoder.features(windows).reshape(dense.shape), dense, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(encoder.features(frame[None])[0], dense, rtol=1e-5, atol=1e-5)


def test_a_changed_head_is_refused(bundle):
    graph = bundle.graph()
    head = {**graph.head, "mean": graph.head["mean"] * np.float32(1.5)}
    with pytest.raises(ParityFailure):
        open_engine("cpu", Graph(graph.onnx, "fp32", head), bundle.golden(), bundle.tolerance())


@pytest.mark.parametrize("change", [lambda head: head[:, :, :4], lambda head: head.astype(np.float64)])
def test_a_head_that_does_not_belong_to_the_graph_is_refused(bundle, change):
    graph = bundle.graph()
    head = {**graph.head, "mean": change(graph.head["mean"])}
    with pytest.raises(EngineUnavailable, match="do not belong together"):
        open_engine("cpu", Graph(graph.onnx, "fp32", head), bundle.golden(), bundle.tolerance())


def test_the_encoder_is_no_inspection_graph(bundle):
    with pytest.raises(EngineUnavailable, match="do not belong together"):
        OnnxRuntimeEngine(Graph(bundle.members[ENCODER_GRAPH], "fp32", bundle.graph().head))


def test_what_onnx_runtime_cannot_load_is_told():
    golden = Golden([], np.empty(0, np.float32), np.empty((0, 1, 1), np.float32), 1.0)
    with pytest.raises(EngineUnavailable, match=r"onnxruntime .* says"):
        open_engine("cpu", Graph(b"no model", "fp32", {}), golden, 1e-3)


def test_tensorrt_is_said_to_be_missing(bundle):
    with pytest.raises(EngineUnavailable, match="--engine cpu") as caught:
        open_engine("tensorrt", bundle.graph(), bundle.golden(), 1e-3)
    assert caught.value.exit_code == 4


def test_an_unknown_engine_lists_the_known(bundle):
    with pytest.raises(UserError, match="auto, cpu, tensorrt"):
        open_engine("gpu", bundle.graph(), bundle.golden(), 1e-3)


def test_device_code_imports_no_torch():
    code = (
        "import sys, edge_occ.cli, edge_occ.cli.line, edge_occ.inspector, edge_occ.bench, engines.cpu;"
        "bad = {'torch', 'trainer', 'sklearn', 'scipy', 'matplotlib', 'onnx'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

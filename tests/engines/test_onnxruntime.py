"""ONNX Runtime against torch on a real bundle; what runs on a device."""

import gc
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from mutations import of_later_onnx

from edge_occ.bundle.bundle import ENCODER_GRAPH
from engines.base import FEATURES, FRAME, Graph
from engines.errors import EngineUnavailable, GraphRefused, ParityFailure
from engines.onnxruntime import EncoderRunner, OnnxRuntimeEngine, has_cuda, open_session
from engines.parity import require_parity


def test_parity_error_is_far_below_the_tolerance(bundle):
    engine = OnnxRuntimeEngine(bundle.graph())
    parity = require_parity(engine, bundle.golden(), bundle.tolerance())
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
    (dense,) = engine.features(frame)
    windows = np.stack([frame[y : y + 64, x : x + 64] for y in range(0, 33, 8) for x in range(0, 33, 8)])
    np.testing.assert_allclose(encoder.features(windows).reshape(dense.shape), dense, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(encoder.features(frame[None])[0], dense, rtol=1e-5, atol=1e-5)


def test_a_changed_head_is_refused(bundle):
    graph = bundle.graph()
    head = {**graph.head, "mean": graph.head["mean"] * np.float32(1.5)}
    with pytest.raises(ParityFailure):
        require_parity(OnnxRuntimeEngine(Graph(graph.onnx, "fp32", head)), bundle.golden(), bundle.tolerance())


@pytest.mark.parametrize("change", [lambda head: head[:, :, :4], lambda head: head.astype(np.float64)])
def test_a_head_that_does_not_belong_to_the_graph_is_refused(bundle, change):
    graph = bundle.graph()
    head = {**graph.head, "mean": change(graph.head["mean"])}
    with pytest.raises(GraphRefused, match="head and graph do not match"):
        OnnxRuntimeEngine(Graph(graph.onnx, "fp32", head))


def test_the_encoder_is_no_inspection_graph(bundle):
    with pytest.raises(GraphRefused, match="do not belong together"):
        OnnxRuntimeEngine(Graph(bundle.members[ENCODER_GRAPH], "fp32", bundle.graph().head))


def broken(graph, find, replace):
    assert find in graph.onnx
    return Graph(graph.onnx.replace(find, replace), graph.precision, graph.head)


@pytest.mark.parametrize(("find", "replace"), [(b"Relu", b"Rely"), (b"strides", b"stridez")])
def test_what_no_onnx_runtime_could_load_is_the_bundles_fault(bundle, find, replace):
    with pytest.raises(GraphRefused, match=r"onnxruntime .* says") as caught:
        OnnxRuntimeEngine(broken(bundle.graph(), find, replace))
    assert caught.value.exit_code == 3


def test_bytes_that_are_no_model_are_the_bundles_fault():
    with pytest.raises(GraphRefused, match=r"onnxruntime .* says"):
        OnnxRuntimeEngine(Graph(b"no model", "fp32", {}))


@pytest.mark.parametrize("later", [of_later_onnx, lambda graph: graph.replace(b"\x08\x0a", b"\x08\x5a", 1)])
def test_a_graph_of_a_later_onnx_needs_a_later_onnx_runtime(bundle, later):
    graph = bundle.graph()
    with pytest.raises(EngineUnavailable, match="pip install -U onnxruntime") as caught:
        OnnxRuntimeEngine(Graph(later(graph.onnx), "fp32", graph.head))
    assert caught.value.exit_code == 4


def test_device_code_imports_no_torch():
    code = (
        "import sys, edge_occ.cli, edge_occ.cli.run, edge_occ.runtime.inspector, edge_occ.runtime.benchmark;"
        "import engines.onnxruntime;"
        "bad = {'torch', 'trainer', 'sklearn', 'scipy', 'matplotlib', 'onnx'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class CudaBuild:
    """ONNX Runtime as its CUDA build would look from Python, computing on the CPU; for lack of a GPU.

    Args:
        comes_up: whether the provider finds a GPU; if not, ONNX Runtime leaves it out and says nothing.
        runs: whether the first run succeeds.
    """

    def __init__(self, monkeypatch, comes_up=True, runs=True):
        self.comes_up, self.runs, self.placed = comes_up, runs, []
        self.session, self.place = ort.InferenceSession, ort.OrtValue.ortvalue_from_numpy
        monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
        monkeypatch.setattr(ort, "InferenceSession", self.open)
        monkeypatch.setattr(ort.OrtValue, "ortvalue_from_numpy", self.ortvalue_from_numpy)

    def open(self, onnx, options, *, providers, enable_fallback, disabled_optimizers):
        assert enable_fallback == 0
        self.provider, self.options = providers[0]
        self.real = self.session(onnx, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        return self

    def ortvalue_from_numpy(self, array, device="cpu", device_id=0):
        self.placed.append((device, device_id, array.shape))
        return self.place(array)

    def get_providers(self):
        return [self.provider, "CPUExecutionProvider"] if self.comes_up else ["CPUExecutionProvider"]

    def get_inputs(self):
        return self.real.get_inputs()

    def get_outputs(self):
        return self.real.get_outputs()

    def run_with_ort_values(self, outputs, inputs):
        if not self.runs:
            raise RuntimeError("CUDA error 209: no kernel image is available for execution on the device")
        return self.real.run_with_ort_values(outputs, inputs)


def test_cuda_gets_the_head_once_and_no_tf32(bundle, monkeypatch):
    graph = bundle.graph()
    build = CudaBuild(monkeypatch)
    engine = OnnxRuntimeEngine(graph, provider="cuda")
    assert engine.name == "onnxruntime-cuda"
    assert "GPU" in engine.detail
    assert (build.provider, build.options["use_tf32"]) == ("CUDAExecutionProvider", "0")
    for frame in bundle.golden().frames[:2]:
        engine.infer(frame)
    on_device = [place[1:] for place in build.placed if place[0] == "cuda"]
    assert on_device == [(0, value.shape) for value in graph.head.values()]
    engine.close()


@pytest.mark.skipif(has_cuda(), reason="this ONNX Runtime is built for CUDA")
def test_a_build_without_cuda_says_what_to_install(bundle):
    with pytest.raises(EngineUnavailable, match=r"without CUDA.*onnxruntime-gpu") as caught:
        OnnxRuntimeEngine(bundle.graph(), provider="cuda")
    assert caught.value.exit_code == 4


def test_a_silent_fall_to_the_cpu_is_not_taken_for_a_gpu(bundle, monkeypatch):
    CudaBuild(monkeypatch, comes_up=False)
    with pytest.raises(EngineUnavailable, match="falls back to the CPU"):
        OnnxRuntimeEngine(bundle.graph(), provider="cuda")


def test_a_gpu_that_cannot_compute_is_reported_at_once(bundle, monkeypatch):
    CudaBuild(monkeypatch, runs=False)
    with pytest.raises(EngineUnavailable, match=r"onnxruntime .* says: CUDA error 209"):
        OnnxRuntimeEngine(bundle.graph(), provider="cuda")


def quantised_convolution(bias):
    """A float16 convolution between quantisation steps, as the trainer exports them."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    half = {
        "scale": np.float16(0.25),
        "weight_scale": np.array([0.001], np.float16),
        "bias": np.array([bias], np.float16),
    }
    constants = {
        **half,
        "zero": np.int8(0),
        "weight_zero": np.array([0], np.int8),
        "weight": np.full((1, 3, 1, 1), 100, np.int8),
    }
    nodes = [
        helper.make_node("Cast", [FRAME], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["float", "hundred"], ["pixels"]),
        helper.make_node("Transpose", ["pixels"], ["channels"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["channels", "axis"], ["batch"]),
        helper.make_node("Cast", ["batch"], ["x"], to=TensorProto.FLOAT16),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "scale", "zero"], ["xd"]),
        helper.make_node("DequantizeLinear", ["weight", "weight_scale", "weight_zero"], ["wd"], axis=0),
        helper.make_node("Conv", ["xd", "wd", "bias"], ["y"]),
        helper.make_node("QuantizeLinear", ["y", "scale", "zero"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "scale", "zero"], ["yd"]),
        helper.make_node("Cast", ["yd"], [FEATURES], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info(FRAME, TensorProto.UINT8, ["h", "w", 3])],
        [helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, [1, 1, "h", "w"])],
        [
            *(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()),
            numpy_helper.from_array(np.float32(100), "hundred"),
            numpy_helper.from_array(np.array([0], np.int64), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@pytest.mark.train
@pytest.mark.parametrize("bias", [3.0, 30.0])
def test_int8_is_computed_as_the_graph_says(bias):
    """Rewritten by ONNX Runtime, the bias would become a float16 number of steps of the products, here 0.00025.  30 is
    more of them than float16 can say, and becomes a number that differs from processor to processor.
    """
    session = open_session(quantised_convolution(bias), threads=1)
    (found,) = session.run([FEATURES], {FRAME: np.full((2, 2, 3), 50, np.uint8)})
    # Three channels of 0.5 x 0.1, and rounded to a step of 0.25.
    np.testing.assert_array_equal(found, np.full((1, 1, 2, 2), bias + 0.25))


def test_a_session_has_a_thread_for_each_usable_processor(bundle, monkeypatch):
    asked = []
    real = ort.InferenceSession

    def session(onnx, options, **others):
        asked.append(options.intra_op_num_threads)
        return real(onnx, options, **others)

    monkeypatch.setattr(ort, "InferenceSession", session)
    monkeypatch.setattr("engines.processors.usable_processors", lambda: 3)
    open_session(bundle.members[ENCODER_GRAPH])
    open_session(bundle.members[ENCODER_GRAPH], threads=1)
    assert asked == [3, 1]


def test_a_head_that_nobody_can_write_to_is_kept_without_a_copy(bundle):
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    head = {name: value.copy() for name, value in bundle.head.items()}
    for value in head.values():
        value.flags.writeable = False
    with closing(OnnxRuntimeEngine(replace(bundle.graph(), head=head), threads=1)) as engine:
        assert all(engine._head[name].data_ptr() == value.ctypes.data for name, value in head.items())
        expected = engine.infer(frame).score
        del head, value
        gc.collect()
        _others = [np.full(array.shape, np.nan, np.float32) for array in bundle.head.values()]  # in freed memory
        assert engine.infer(frame).score == expected

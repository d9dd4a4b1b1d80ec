"""The whole TensorRT path on a fake GPU, for three versions of TensorRT, against ONNX Runtime."""

import gc
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fakes.install import installed
from fakes.jetson import VERSIONS, assert_same, frame_of, machine

from engines.base import Graph
from engines.cuda import jetson
from engines.errors import EngineUnavailable, FrameRefused, GraphRefused, ParityFailure
from engines.onnxruntime import OnnxRuntimeEngine
from engines.parity import require_parity
from engines.tensorrt.engine import open_tensorrt


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("memory", ["mapped", "copy"])
@pytest.mark.parametrize("version", VERSIONS)
def test_frames_of_several_sizes_score_as_on_the_cpu(graph, options, reference, version, memory, lazy):
    with machine(version, lazy=lazy) as (fake, _):
        engine = open_tensorrt(graph, replace(options, memory=memory))
        assert (engine.name, engine.precision) == ("tensorrt", "fp32")
        assert engine.detail.startswith(f"TensorRT {version} on ")
        how = "copied" if memory == "copy" else "mapped"
        assert engine.detail.endswith(f", {how} memory, CUDA graph")
        for seed, size in enumerate([(96, 96), (96, 96), (96, 96), (240, 320), (2, 2), (31, 77), (31, 77), (112, 112)]):
            assert_same(engine, reference, frame_of(*size, seed))
        engine.close()
    assert len(fake.builds) == 1


def test_frames_that_are_not_contiguous_are_copied_right(graph, options, reference):
    with machine():
        engine = open_tensorrt(graph, options)
        frame = frame_of(100, 120)
        for view in (frame[:, ::-1], frame[::2, 10:90], frame.transpose(1, 0, 2), frame[..., ::-1]):
            assert_same(engine, reference, view)
        engine.close()


def test_larger_frames_are_refused_with_the_setting_that_allows_them(graph, options):
    with machine():
        engine = open_tensorrt(graph, options)
        with pytest.raises(FrameRefused, match=r"engine\.max_frame to \[241, 320\]") as caught:
            engine.infer(frame_of(241, 100))
        assert caught.value.exit_code == 2
        with pytest.raises(FrameRefused, match=r"height x width x 3; found 96 x 96 of uint8"):
            engine.infer(frame_of(96, 96)[:, :, 0])
        engine.infer(frame_of(240, 100))
        engine.close()


@pytest.mark.parametrize(("integrated", "word", "copies"), [(True, "mapped", 0), (False, "copied", 1)])
def test_memory_is_mapped_where_the_gpu_shares_it(graph, options, integrated, word, copies):
    with machine(integrated=integrated) as (_, gpu):
        engine = open_tensorrt(graph, options)
        assert f"{word} memory" in engine.detail
        gpu.log.clear()
        for _ in range(2):
            engine.infer(frame_of(64, 64))
        assert gpu.log.count("to device") == 2 * copies
        assert gpu.log.count("to host") == 4 * copies
        engine.close()


# -- CUDA graphs ----------------------------------------------------------------------------------------------------


def test_a_graph_is_replayed_until_the_size_changes(graph, options, reference):
    with machine() as (fake, gpu):
        engine = open_tensorrt(graph, options)
        fake.enqueued = 0
        gpu.log.clear()
        for seed in range(5):
            assert_same(engine, reference, frame_of(96, 96, seed))
        assert fake.enqueued == 2, "one run, one capture"
        assert gpu.log.count("launch") == 4
        for seed in range(6):
            assert_same(engine, reference, frame_of(64 + seed % 2, 96, seed))
        assert gpu.log.count("begin capture") == 1, "sizes that alternate are not worth graphs"
        assert "plain enqueue" in engine.detail
        engine.close()


@pytest.mark.parametrize("broken", ["can_capture", "can_instantiate"])
def test_without_graphs_frames_are_enqueued_one_by_one(graph, options, reference, broken, monkeypatch):
    # pytest keeps log records, with them the error, and with its traceback the stream.
    monkeypatch.setattr("engines.cuda.graph._log.disabled", True)
    with machine(**{broken: False}) as (_, gpu):
        engine = open_tensorrt(graph, options)
        assert "plain enqueue" in engine.detail
        for seed in range(4):
            assert_same(engine, reference, frame_of(96, 96, seed))
        assert gpu.log.count("begin capture") == 1, "it is tried once"
        engine.close()


# -- the head -------------------------------------------------------------------------------------------------------


def test_a_head_is_swapped_without_a_build(graph, options):
    head = {**graph.head, "mean": graph.head["mean"] + np.float32(0.5)}
    other = OnnxRuntimeEngine(Graph(graph.onnx, "fp32", head), threads=1)
    with machine() as (fake, _):
        engine = open_tensorrt(graph, options)
        before = engine.infer(frame_of(96, 96))
        engine.infer(frame_of(96, 96))
        engine.set_head(head)
        assert assert_same(engine, other, frame_of(96, 96)).score != before.score
        engine.set_head(graph.head)
        assert engine.infer(frame_of(96, 96)).score == before.score
        assert len(fake.builds) == 1
        engine.close()


def test_a_head_larger_than_a_frame_is_uploaded_whole(graph, options, reference):
    with machine():
        engine = open_tensorrt(graph, replace(options, max_frame=(12, 12), frame=(12, 12)))
        assert sum(value.nbytes for value in graph.head.values()) > 3 * 12 * 12 * 3
        assert_same(engine, reference, frame_of(12, 12))
        engine.close()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("memory", ["mapped", "copy"])
def test_features_larger_than_a_frame_are_downloaded_whole(graph, options, reference, memory, lazy):
    with machine(lazy=lazy):
        engine = open_tensorrt(graph, replace(options, max_frame=(12, 12), frame=(12, 12), memory=memory))
        for seed in range(4):  # run, captured, replayed
            (found,), (expected,) = (each.features(frame_of(12, 12, seed)) for each in (engine, reference))
            assert found.nbytes > 12 * 12 * 3, "more than the frame's memory"
            np.testing.assert_array_equal(found, expected)
        assert "CUDA graph" in engine.detail
        engine.close()


@pytest.mark.parametrize(
    "change",
    [lambda mean: mean[:, :, :4], lambda mean: mean.astype(np.float64), lambda mean: mean[None]],
)
def test_a_head_of_another_graph_is_refused_and_the_earlier_kept(graph, options, reference, change):
    with machine():
        engine = open_tensorrt(graph, options)
        wrong = {**graph.head, "mean": change(graph.head["mean"])}
        for head in (wrong, {"mean": graph.head["mean"]}):
            with pytest.raises(GraphRefused, match="head and graph do not match"):
                engine.set_head(head)
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
        with pytest.raises(GraphRefused, match="head and graph do not match"):
            open_tensorrt(Graph(graph.onnx, "fp32", wrong), options)


# -- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ({"parser_errors": ["In node 3: UNSUPPORTED_NODE"]}, "UNSUPPORTED_NODE"),
        ({"build_error": "Error Code 10: Internal Error (no tactic)"}, "no tactic"),
        ({"build_error": "Error Code 2: OutOfMemory (Requested size was 9 bytes)"}, r"lower engine\.max_frame"),
        ({"null_engine": "Error Code 1: Serialization (null)"}, "Serialization"),
        ({"null_context": "Error Code 2: OutOfMemory (no context)"}, "no context"),
        ({"refuse_enqueue": "Error Code 1: Cask (launch failed)"}, "launch failed"),
    ],
)
def test_failures_are_reported_and_leave_nothing_behind(graph, options, version, failure, words):
    with machine(version, failure) as (fake, gpu):
        with pytest.raises(EngineUnavailable, match=words) as caught:
            open_tensorrt(graph, options)
        assert caught.value.exit_code == 4
        assert gpu.retained == 0
        assert not fake.alive


def test_a_failure_between_frames_is_reported(graph, options, reference):
    with machine() as (fake, _):
        engine = open_tensorrt(graph, options)
        fake.refuse_enqueue = "Error Code 1: Cask (later)"
        with pytest.raises(EngineUnavailable, match="later"):
            engine.infer(frame_of(50, 50))
        fake.refuse_enqueue = ""
        assert_same(engine, reference, frame_of(50, 50))
        engine.close()


def test_frames_below_the_profile_are_reported(graph, options, reference):
    with machine():
        engine = open_tensorrt(graph, options)
        with pytest.raises(EngineUnavailable, match="frames of 1x5"):
            engine.infer(frame_of(1, 5))
        assert_same(engine, reference, frame_of(112, 112))
        engine.close()


@pytest.mark.parametrize("raises", [False, True])
def test_shapes_that_tensorrt_cannot_infer_are_reported(graph, options, raises):
    def infer_shapes(context):
        if raises:
            raise RuntimeError("shape inference failed")
        return ["frame"]

    with machine() as (fake, _):
        fake.module.IExecutionContext.infer_shapes = infer_shapes
        with pytest.raises(EngineUnavailable, match="frames of 240x320"):
            open_tensorrt(graph, options)


def test_work_in_flight_is_awaited_before_the_engine_is_dropped(graph, options, monkeypatch):
    with machine(lazy=True):
        engine = open_tensorrt(graph, options)

        def refuse(*arguments):
            raise EngineUnavailable("a copy", "an error", "despair")

        with monkeypatch.context() as patch:
            patch.setattr("engines.cuda.pycuda.PycudaDriver.to_host", refuse)
            with pytest.raises(EngineUnavailable, match="despair"):
                engine.infer(frame_of(96, 96))
        engine.close()


def test_too_little_memory_for_the_buffers_is_reported(graph, options):
    with machine(memory=200_000) as (fake, _):
        with pytest.raises(EngineUnavailable, match="memory"):
            open_tensorrt(graph, replace(options, memory="copy"))
        assert not fake.builds


def test_ctrl_c_ends_the_build(graph, options):
    def press(what, done):
        if done > 0.3:
            raise KeyboardInterrupt

    with machine() as (fake, _):
        with pytest.raises(KeyboardInterrupt):
            open_tensorrt(graph, options, progress=press)
        assert not list(options.cache.glob("*.plan"))
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 1


def test_the_parity_gate_refuses_what_computes_something_else(graph, options, bundle):
    with machine() as (fake, _):
        engine = open_tensorrt(graph, options)
        assert require_parity(engine, bundle.golden(), bundle.tolerance()).flipped == 0
        fake.scale = 1.1
        engine.infer(frame_of(77, 77))
        with pytest.raises(ParityFailure, match="engine tensorrt fp32"):
            require_parity(engine, bundle.golden(), bundle.tolerance())
        engine.close()


def test_without_a_driver_tensorrt_is_not_touched(graph, options, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with installed(driver=False), pytest.raises(EngineUnavailable, match="driver") as caught:
        open_tensorrt(graph, options)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("release", "advice"),
    [
        (None, "pip install"),
        ("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic", "--system-site-packages"),
        ("# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref", "JetPack 5"),
    ],
)
def test_without_tensorrt_it_is_said_how_to_get_it(graph, options, monkeypatch, tmp_path, release, advice):
    monkeypatch.setattr(jetson, "RELEASE", tmp_path / "release")
    if release is not None:
        jetson.RELEASE.write_text(release)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with installed(), pytest.raises(EngineUnavailable, match=advice):
        open_tensorrt(graph, options)


@pytest.mark.parametrize("version", ["8.5.2.2", "10.0.1", "10.2.0.post1", "?"])
def test_an_old_tensorrt_is_refused(graph, options, version, monkeypatch):
    with machine() as (fake, _):
        fake.module.__version__ = version
        with pytest.raises(EngineUnavailable, match=r"10\.3 or newer"):
            open_tensorrt(graph, options)
        fake.module.__version__ = fake.version


# -- teardown and threads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lazy", [False, True])
def test_everything_is_dropped_in_order(graph, options, lazy):
    with machine(lazy=lazy) as (fake, gpu):
        engine = open_tensorrt(graph, options)
        engine.infer(frame_of(96, 96))
        gpu.log.clear()
        fake.dropped.clear()
        engine.close()
        engine.close()
        assert fake.dropped == ["IExecutionContext", "ICudaEngine", "Runtime"]
        assert gpu.log.index("pop") > max(i for i, what in enumerate(gpu.log) if what.startswith("free"))
        with pytest.raises(RuntimeError, match="closed"):
            engine.infer(frame_of(96, 96))


def test_another_thread_is_refused(graph, options):
    with machine():
        engine = open_tensorrt(graph, options)
        calls: list[Callable[[], object]] = [engine.close, lambda: engine.set_head(graph.head)]
        calls += [lambda: engine.infer(frame_of(96, 96)), lambda: engine.features(frame_of(96, 96))]
        with ThreadPoolExecutor(1) as pool:
            for call in calls:
                with pytest.raises(RuntimeError, match="thread that opened it"):
                    pool.submit(call).result()
        engine.close()


def test_engines_may_follow_each_other(graph, options, reference):
    with machine():
        for _ in range(3):
            engine = open_tensorrt(graph, options)
            assert_same(engine, reference, frame_of(96, 96))
            engine.close()
            gc.collect()

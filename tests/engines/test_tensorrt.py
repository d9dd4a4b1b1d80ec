"""The whole TensorRT path on a fake GPU, for three versions of TensorRT, against ONNX Runtime."""

import gc
import json
import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from fakes.install import installed
from fakes.tensorrt import FakeTensorRT

from edge_occ.bundle import read_bundle
from engines import jetson
from engines.base import EngineOptions, Graph
from engines.cpu import OnnxRuntimeEngine
from engines.errors import EngineUnavailable, ParityFailure, UserError
from engines.parity import require_parity
from engines.tensorrt import open_tensorrt
from engines.tensorrt_plans import choose_typing, read_layers
from engines.tensorrt_session import Session

VERSIONS = ("10.3.0", "10.16.1.11", "11.4.0.106")


@pytest.fixture(scope="session")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


@pytest.fixture
def graph(bundle):
    return bundle.graph()


@pytest.fixture(scope="session")
def reference(bundle):
    return OnnxRuntimeEngine(bundle.graph(), threads=1)


@pytest.fixture
def options(tmp_path):
    return EngineOptions(cache=tmp_path / "engines", frame=(112, 112), max_frame=(240, 320))


@contextmanager
def machine(version="10.3.0", failures=None, **options):
    """A machine with a GPU and this TensorRT; at the end nothing of either may be left."""
    fake = FakeTensorRT(version, **(failures or {}))
    with pytest.MonkeyPatch.context() as patch, installed(**options) as gpu:
        patch.setitem(sys.modules, "tensorrt", fake.module)
        yield fake, gpu
        assert not fake.alive


def frame_of(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def assert_same(engine, reference, frame):
    found, expected = engine.infer(frame), reference.infer(frame)
    assert found.score == expected.score
    np.testing.assert_array_equal(found.map, expected.map)
    return found


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("memory", ["mapped", "copy"])
@pytest.mark.parametrize("version", VERSIONS)
def test_frames_of_several_sizes_score_as_on_the_cpu(graph, options, reference, version, memory, lazy):
    with machine(version, lazy=lazy) as (fake, _):
        engine = open_tensorrt(graph, replace(options, memory=memory))
        assert (engine.name, engine.precision) == ("tensorrt", "fp32")
        assert engine.detail.startswith(f"TensorRT {version} on ")
        how = "copied" if memory == "copy" else "mapped"
        assert engine.detail.endswith(f", {how} memory, strongly typed, CUDA graph")
        for seed, size in enumerate([(96, 96), (96, 96), (96, 96), (240, 320), (2, 2), (31, 77), (31, 77), (112, 112)]):
            assert_same(engine, reference, frame_of(*size, seed))
        engine.close()
    assert len(fake.builds) == 1


def test_results_stay_what_they_were(graph, options, reference):
    with machine():
        engine = open_tensorrt(graph, options)
        first = engine.infer(frame_of(96, 96, 1))
        kept = first.map.copy()
        engine.infer(frame_of(96, 96, 2))
        np.testing.assert_array_equal(first.map, kept)
        engine.close()


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
        with pytest.raises(UserError, match=r"engine\.max_frame to \[241, 320\]") as caught:
            engine.infer(frame_of(241, 100))
        assert caught.value.exit_code == 2
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
    monkeypatch.setattr("engines.cuda_graph._log.disabled", True)
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


@pytest.mark.parametrize(
    "change",
    [lambda mean: mean[:, :, :4], lambda mean: mean.astype(np.float64), lambda mean: mean[None]],
)
def test_a_head_of_another_graph_is_refused_and_the_earlier_kept(graph, options, reference, change):
    with machine():
        engine = open_tensorrt(graph, options)
        wrong = {**graph.head, "mean": change(graph.head["mean"])}
        for head in (wrong, {"mean": graph.head["mean"]}):
            with pytest.raises(EngineUnavailable, match="do not belong together"):
                engine.set_head(head)
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
        with pytest.raises(EngineUnavailable, match="do not belong together"):
            open_tensorrt(Graph(graph.onnx, "fp32", wrong), options)


# -- cache ----------------------------------------------------------------------------------------------------------


def test_the_second_start_builds_nothing(graph, options, reference):
    told = []
    with machine() as (fake, _):
        open_tensorrt(graph, options, progress=lambda what, done: told.append((what, done))).close()
        assert told[0] == ("building the TensorRT engine, fp32, strongly typed", 0.0)
        assert told[-1][1] == 1.0
        told.clear()
        head = {**graph.head, "mean": graph.head["mean"] * 2}
        for again in (graph, Graph(graph.onnx, "fp32", head)):  # heads are inputs, so they share the engine
            open_tensorrt(again, options, progress=lambda what, done: told.append(what)).close()
        assert (len(fake.builds), told) == (1, [])
    (description,) = (json.loads(path.read_text()) for path in options.cache.glob("*.json"))
    assert description["machine"]["tensorrt"] == "10.3.0"
    assert description["facts"]["typing"] == "strong"
    assert description["facts"]["build_seconds"] >= 0
    (layers,) = (json.loads(path.read_text()) for path in options.cache.glob("*.layers"))
    assert set(layers) == {"layers", "tensors"}
    assert "frame" in layers["tensors"]


def test_the_workspace_is_half_of_what_is_free(graph, options):
    with machine(memory=1 << 30) as (fake, _):
        engine = open_tensorrt(graph, replace(options, memory="mapped"))
        in_use = (1 << 30) - 2 * fake.builds[0]["workspace"]
        assert 0 <= in_use < 1 << 20
        engine.close()


def test_what_another_process_built_meanwhile_is_taken(graph, options, tmp_path, monkeypatch):
    told = []
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()
        options.cache.rename(tmp_path / "theirs")

        @contextmanager
        def lock(cache, waiting):
            waiting()
            cache.folder.rmdir()
            (tmp_path / "theirs").rename(cache.folder)
            yield

        monkeypatch.setattr("engines.plan_cache.PlanCache.lock", lock)
        open_tensorrt(graph, options, progress=lambda what, done: told.append(what)).close()
        assert len(fake.builds) == 1
    assert told == ["waiting for another process that builds an engine"]


def test_other_settings_are_other_engines(graph, options):
    with machine() as (fake, _):
        for each in (options, replace(options, max_frame=(120, 120)), replace(options, frame=(64, 64)), options):
            open_tensorrt(graph, each).close()
        assert len(fake.builds) == 3
        assert fake.builds[1]["timings"] == "timed ", "the timing cache of the first build"
        # Nor does it matter how frames reach the GPU.
        open_tensorrt(graph, replace(options, memory="mapped", spin=True)).close()
        assert len(fake.builds) == 3


@pytest.mark.parametrize("damage", ["flip", "cut", "garbage"])
def test_a_damaged_plan_is_put_away_and_built_anew(graph, options, reference, damage, caplog):
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()
        (plan,) = options.cache.glob("*.plan")
        good = plan.read_bytes()
        plan.write_bytes({"flip": good[:-1] + bytes([good[-1] ^ 1]), "cut": good[:-9], "garbage": b"rm -rf"}[damage])
        with caplog.at_level(logging.WARNING, "engines.tensorrt"):
            engine = open_tensorrt(graph, options)
        assert "its bytes are not those that were built" in caplog.text
        assert "quarantine" in caplog.text
        assert len(fake.builds) == 2
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
    assert len(list((options.cache / "quarantine").glob("*.plan"))) == 1


def test_another_tensorrt_builds_anew(graph, options, caplog):
    with machine("10.3.0"):
        open_tensorrt(graph, options).close()
    with machine("10.16.1.11") as (fake, _), caplog.at_level(logging.WARNING, "engines.tensorrt"):
        open_tensorrt(graph, options).close()
        assert fake.builds[0]["timings"] == "", "timings belong to a version"
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 1
    assert "built with tensorrt 10.3.0, and here is 10.16.1.11" in caplog.text


def test_a_new_power_mode_builds_anew(graph, options, tmp_path, monkeypatch, caplog):
    mode = tmp_path / "status"
    monkeypatch.setattr(jetson, "POWER_MODE", mode)
    with machine() as (fake, _):
        mode.write_text("pmode:0000\n")
        open_tensorrt(graph, options).close()
        mode.write_text("pmode:0002 fmode:quiet\n")
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 2
    assert "power mode 0, and here is 2" in caplog.text


def test_a_plan_that_tensorrt_cannot_load_is_built_anew(graph, options, reference, caplog):
    """Its hash is right, but TensorRT gives a null engine: say, its library was replaced in place."""
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()
        calls = []

        def once(runtime, plan, real=fake.module.Runtime.deserialize_cuda_engine):
            calls.append(plan)
            fake.null_engine = "Error Code 1: Serialization (stale)" if len(calls) < 3 else ""
            return real(runtime, plan)

        fake.module.Runtime.deserialize_cuda_engine = once
        engine = open_tensorrt(graph, options)
        assert len(fake.builds) == 2
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
    assert "Serialization (stale)" in caplog.text


def test_an_unwritable_cache_is_told_before_the_build(graph, options, tmp_path):
    (tmp_path / "file").write_text("")
    with machine() as (fake, _):
        with pytest.raises(EngineUnavailable, match=r"engine\.cache"):
            open_tensorrt(graph, replace(options, cache=tmp_path / "file" / "engines"))
        assert not fake.builds


def test_a_cache_that_may_only_be_read_serves(graph, options, monkeypatch):
    with machine() as (fake, _):
        open_tensorrt(graph, options).close()

        def refuse(*arguments, **keywords):
            raise PermissionError(13, "Read-only file system")

        for name in ("engines.plan_cache.NamedTemporaryFile", "os.utime", "os.open"):
            monkeypatch.setattr(name, refuse)
        open_tensorrt(graph, options).close()
        assert len(fake.builds) == 1


def test_an_engine_that_cannot_be_kept_runs_all_the_same(graph, options, reference, monkeypatch, caplog):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("engines.plan_cache.PlanCache._write", full)
    with machine():
        engine = open_tensorrt(graph, options)
        assert_same(engine, reference, frame_of(96, 96))
        engine.close()
    assert "No space left" in caplog.text


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
def test_failures_are_told_and_leave_nothing_behind(graph, options, version, failure, words):
    with machine(version, failure) as (fake, gpu):
        with pytest.raises(EngineUnavailable, match=words) as caught:
            open_tensorrt(graph, options)
        assert caught.value.exit_code == 4
        assert gpu.retained == 0
        assert not fake.alive


def test_a_failure_between_frames_is_told(graph, options, reference):
    with machine() as (fake, _):
        engine = open_tensorrt(graph, options)
        fake.refuse_enqueue = "Error Code 1: Cask (later)"
        with pytest.raises(EngineUnavailable, match="later"):
            engine.infer(frame_of(50, 50))
        fake.refuse_enqueue = ""
        assert_same(engine, reference, frame_of(50, 50))
        engine.close()


def test_frames_below_the_profile_are_told(graph, options, reference):
    with machine():
        engine = open_tensorrt(graph, options)
        with pytest.raises(EngineUnavailable, match="frames of 1x5"):
            engine.infer(frame_of(1, 5))
        assert_same(engine, reference, frame_of(112, 112))
        engine.close()


@pytest.mark.parametrize("raises", [False, True])
def test_shapes_that_tensorrt_cannot_infer_are_told(graph, options, raises):
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
            patch.setattr("engines.cuda.PycudaDriver.to_host", refuse)
            with pytest.raises(EngineUnavailable, match="despair"):
                engine.infer(frame_of(96, 96))
        engine.close()


def test_too_little_memory_for_the_buffers_is_told(graph, options):
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
        with ThreadPoolExecutor(1) as pool:
            for call in (lambda: engine.infer(frame_of(96, 96)), engine.close, lambda: engine.set_head(graph.head)):
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


# -- typing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "version", "precision", "weak", "chosen"),
    [
        ("auto", (10, 3), "fp16", b"x", "faster"),
        ("auto", (10, 11), "fp16", b"x", "faster"),
        ("auto", (10, 12), "fp16", b"x", "strong"),
        ("auto", (11, 4), "fp16", b"x", "strong"),
        ("auto", (10, 3), "fp16", None, "strong"),
        ("auto", (10, 3), "int8", b"x", "strong"),
        ("weak", (10, 3), "fp16", b"x", "weak"),
        ("weak", (10, 3), "fp32", b"x", "strong"),
        ("strong", (10, 3), "fp16", b"x", "strong"),
    ],
)
def test_the_choice_of_typing(asked, version, precision, weak, chosen):
    assert choose_typing(asked, version, precision, weak) == chosen


@pytest.mark.parametrize("version", ["10.13.3.9", "11.4.0.106"])
def test_weak_typing_is_refused_where_it_is_gone(graph, options, version):
    with machine(version), pytest.raises(UserError, match=r"engine\.typing to auto") as caught:
        open_tensorrt(graph, replace(options, typing="weak"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("medians", "chosen"), [((3.0, 2.0), "weak"), ((2.0, 3.0), "strong")])
def test_before_10_12_both_are_built_and_the_faster_is_kept(graph, options, reference, monkeypatch, medians, chosen):
    half = Graph(graph.onnx, "fp16", graph.head)
    spans = iter((*medians, 0.0, 0.0))
    monkeypatch.setattr(Session, "median_ms", lambda session, frame, runs: session.run(frame) and next(spans))
    with machine("10.3.0") as (fake, _):
        for _ in range(2):  # built, then from the cache
            engine = open_tensorrt(half, options, weak=graph.onnx)
            assert engine.typing == chosen
            assert f"{chosen}ly typed" in engine.detail
            assert_same(engine, reference, frame_of(96, 96))
            engine.close()
        assert [(build["strong"], build["half"]) for build in fake.builds] == [(True, False), (False, True)]
    (description,) = (json.loads(path.read_text()) for path in options.cache.glob("*.json"))
    assert description["facts"]["medians_ms"] == {"strong": medians[0], "weak": medians[1]}
    assert description["facts"]["typing"] == chosen


def test_every_typing_is_an_engine_of_its_own(graph, options):
    half, weak = Graph(graph.onnx, "fp16", graph.head), graph.onnx.replace(b"pytorch", b"another")
    with machine("10.3.0") as (fake, _):
        for typing, halves in (("strong", 0), ("weak", 1), ("auto", 2), ("weak", 2)):
            open_tensorrt(half, replace(options, typing=typing), weak=weak).close()
            assert sum(build["half"] for build in fake.builds) == halves
            plans = [plan.read_bytes() for plan in options.cache.glob("*.plan")]
            assert (weak in b"".join(plans)) == (halves > 0)
        assert len(fake.builds) == 4


def test_both_are_really_timed(graph, options):
    with machine("10.3.0") as (fake, _):
        engine = open_tensorrt(Graph(graph.onnx, "fp16", graph.head), options, weak=graph.onnx)
        assert len(fake.builds) == 2
        engine.close()
    (description,) = (json.loads(path.read_text()) for path in options.cache.glob("*.json"))
    assert all(span > 0 for span in description["facts"]["medians_ms"].values())


def test_the_inspectors_words_of_all_versions_are_read():
    assert read_layers('{"Layers": ["a"], "Bindings": ["b"]}') == {"layers": ["a"], "tensors": ["b"]}
    assert read_layers('{"Layers": ["a"], "I/O Tensors": ["b"]}') == {"layers": ["a"], "tensors": ["b"]}


def test_what_a_jetson_says_of_itself(tmp_path):
    file = tmp_path / "file"
    assert jetson.l4t_release(file) is None
    assert jetson.power_mode(file) is None
    file.write_bytes(b"\xff\0 something else")
    assert jetson.l4t_release(file) is None
    file.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64")
    assert jetson.l4t_release(file) == "36.4.3"
    file.write_text("pmode:0012")
    assert jetson.power_mode(file) == "12"

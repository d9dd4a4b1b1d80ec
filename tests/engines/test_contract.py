"""The contract of :class:`engines.base.Engine`, for the fake and for every runtime that is installed here.

TensorRT runs on the strict fakes, and ONNX Runtime with CUDA where there is a GPU.
"""

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import pytest
from fakes.jetson import VERSIONS, machine

from edge_occ.bundle.pre_stage import PreStage, PreStageEngine
from engines.base import FEATURES, Engine, Graph
from engines.errors import EngineUnavailable, FrameRefused, GraphRefused
from engines.fake import CELL, GRID, FakeEngine, fake_graph
from engines.onnxruntime import OnnxRuntimeEngine
from engines.opencv import OpenCvEngine
from engines.openvino import OpenVinoEngine
from engines.tensorrt.engine import open_tensorrt

RUNTIMES = ("fake", "cpu", "onnxruntime-cuda", "openvino", "opencv", *(f"tensorrt {version}" for version in VERSIONS))
CASES = [*RUNTIMES, "cpu throughput", "downscaling fake", "downscaling cpu"]
SIZES = ((96, 96), (64, 200), (240, 320), (31, 77), (2, 2), (96, 96))


@dataclass
class Case:
    """A runtime, the graph that it opens, and an engine whose scores it must give."""

    name: str
    graph: Graph
    open: Any
    reference: Engine

    def opened(self, head=None) -> Engine:
        return self.open(self.graph if head is None else replace(self.graph, head=head))


@pytest.fixture(params=CASES)
def case(request, graph, options):
    name = request.param
    with ExitStack() as stack:
        opens: dict[str, Callable[[Graph], Engine]] = {
            "cpu": lambda graph: OnnxRuntimeEngine(graph, threads=1),
            "cpu throughput": lambda graph: OnnxRuntimeEngine(graph, throughput=True),
            "onnxruntime-cuda": lambda graph: OnnxRuntimeEngine(graph, threads=1, provider="cuda"),
            "openvino": OpenVinoEngine,
            "opencv": OpenCvEngine,
            "fake": FakeEngine,
            "downscaling cpu": lambda graph: PreStageEngine(
                OnnxRuntimeEngine(graph, threads=1), PreStage((10**6, 10**6))
            ),
            "downscaling fake": lambda graph: PreStageEngine(FakeEngine(graph), PreStage((10**6, 10**6))),
            **{f"tensorrt {version}": lambda graph: open_tensorrt(graph, options) for version in VERSIONS},
        }
        if name == "openvino":
            pytest.importorskip("openvino")
        if name == "opencv" and int(cv2.__version__.split(".")[0]) < 5:
            pytest.skip("OpenCV 4 cannot load a graph whose frame size is free")
        if name == "onnxruntime-cuda":
            try:
                opens[name](graph).close()
            except EngineUnavailable as error:
                pytest.skip(error.found)
        if name.startswith("tensorrt"):
            stack.enter_context(machine(name.split()[1], integrated=True))
        if "fake" in name:
            graph = fake_graph()
        reference = stack.enter_context(closing((FakeEngine if "fake" in name else opens["cpu"])(graph)))
        yield Case(name, graph, opens[name], reference)


@pytest.fixture
def engine(case):
    with closing(case.opened()) as engine:
        yield engine


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)


def other_head(graph):
    """A head of the same shapes, of other values."""
    return {name: value * np.float32(0.5) for name, value in graph.head.items()}


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(1e-6, float(np.abs(expected).max())))


def test_it_has_its_name_precision_and_version(case, engine):
    assert engine.name == case.name.removeprefix("downscaling ").split()[0]
    assert engine.precision == case.graph.precision == "fp32"
    words = {"fake": "numpy", "cpu": "onnxruntime 1.", "openvino": "openvino 20", "opencv": f"OpenCV {cv2.__version__}"}
    assert words.get(engine.name, case.name.split()[-1]) in engine.detail


def test_frames_of_changing_size_are_scored_as_the_reference_does(case, engine):
    generator = np.random.default_rng(0)
    for size in SIZES:
        frame = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        found, expected = engine.infer(frame), case.reference.infer(frame)
        assert found.score == pytest.approx(expected.score, rel=1e-4)
        assert found.map.dtype == np.float32
        assert_close(found.map, expected.map)
        for branch, wanted in zip(engine.features(frame), case.reference.features(frame), strict=True):
            assert branch.dtype == np.float32
            assert branch.ndim == 3
            assert_close(branch, wanted)


def test_views_and_read_only_frames_are_scored_as_their_copies(engine, frame):
    flipped = frame[:, ::-1]
    score = engine.infer(flipped.copy()).score
    assert engine.infer(flipped).score == score
    flipped.flags.writeable = False
    assert engine.infer(flipped).score == score
    frozen = flipped.copy()
    frozen.flags.writeable = False
    assert engine.infer(frozen).score == score


def test_results_outlive_the_next_frame(engine, frame):
    scores, features = engine.infer(frame), engine.features(frame)
    kept = [array.copy() for array in (scores.map, *features)]
    others = [engine.infer(255 - frame).map, *engine.features(255 - frame)]
    for found, copy, other in zip((scores.map, *features), kept, others, strict=True):
        np.testing.assert_array_equal(found, copy)
        assert not np.array_equal(found, other)


def test_as_many_threads_as_it_says_score_at_the_same_time_what_one_alone_does(engine):
    generator = np.random.default_rng(1)
    frames = [generator.integers(0, 256, (96 + 8 * (i % 3), 96, 3), dtype=np.uint8) for i in range(12)]
    expected = [engine.infer(frame) for frame in frames]
    if engine.parallel == 1:
        found = [engine.infer(frame) for frame in frames]
    else:
        with ThreadPoolExecutor(engine.parallel) as threads:
            found = list(threads.map(engine.infer, frames))
    for one, other in zip(found, expected, strict=True):
        assert one.score == other.score
        np.testing.assert_array_equal(one.map, other.map)


def test_features_do_not_disturb_the_scores(engine, frame):
    expected = engine.infer(frame)
    engine.features(255 - frame)
    found = engine.infer(frame)
    assert found.score == expected.score
    np.testing.assert_array_equal(found.map, expected.map)


def test_a_swapped_head_scores_as_a_fresh_engine_with_that_head(case, engine, frame):
    before, features, head = engine.infer(frame), engine.features(frame), other_head(case.graph)
    for _ in range(3):  # TensorRT replays a CUDA graph from the third frame of a size on
        engine.infer(frame)
    engine.set_head(head)
    found = engine.infer(frame)
    assert found.score != before.score
    for value in head.values():  # an engine keeps a copy
        value[:] = np.nan
    again = engine.infer(frame)
    for array, unchanged in zip(engine.features(frame), features, strict=True):
        np.testing.assert_array_equal(array, unchanged)
    with closing(case.opened(other_head(case.graph))) as fresh:
        expected = fresh.infer(frame)
    for scores in (found, again):
        assert scores.score == expected.score
        np.testing.assert_array_equal(scores.map, expected.map)
    engine.set_head(case.graph.head)
    assert engine.infer(frame).score == before.score


@pytest.mark.parametrize(
    "change",
    [
        lambda head: {name: value[..., :-1] for name, value in head.items()},
        lambda head: {name: value[None] for name, value in head.items()},
        lambda head: {name: value.astype(np.float64) for name, value in head.items()},
        lambda head: {**head, "gamma": np.ones(1, np.float32)},
        lambda head: dict(list(head.items())[1:]),
        lambda head: {},
    ],
    ids=["shape", "rank", "type", "one more", "one less", "none"],
)
def test_another_graphs_head_is_refused_and_the_earlier_kept(case, engine, frame, change):
    expected = engine.infer(frame)
    with pytest.raises(GraphRefused, match="head and graph do not match") as caught:
        engine.set_head(change(other_head(case.graph)))
    assert caught.value.exit_code == 3
    found = engine.infer(frame)
    assert found.score == expected.score
    np.testing.assert_array_equal(found.map, expected.map)


def test_a_frame_that_cannot_be_scored_is_refused_and_the_next_one_is_scored(engine, frame):
    expected = engine.infer(frame).score
    # A view of one pixel, because 3.6 thousand million would not fit into memory.
    for bad in (np.broadcast_to(np.zeros(3, np.uint8), (60_000, 60_000, 3)), frame[:, :, 0], frame[:0], frame * 0.5):
        for call in (engine.infer, engine.features):
            with pytest.raises(FrameRefused) as caught:
                call(bad)
            assert caught.value.exit_code == 2
    assert engine.infer(frame).score == expected


def test_a_closed_engine_scores_nothing(case, frame):
    engine = case.opened()
    engine.close()
    with pytest.raises((RuntimeError, AttributeError)):
        engine.infer(frame)


def test_scores_and_features_are_of_the_downscaled_frame():
    engine, frame = PreStageEngine(FakeEngine(fake_graph()), PreStage((10, 10))), np.zeros((40, 40, 3), np.uint8)
    frame[::4, ::4] = 255  # the pixels that the fake would take of the whole frame
    (features,) = engine.features(frame)
    assert features.shape == (GRID, GRID, 3)
    np.testing.assert_allclose(features, np.full_like(features, 16 / 255), atol=1e-6)
    assert engine.infer(frame).map.shape == (GRID * CELL, GRID * CELL)


def test_features_of_a_real_graph_are_its_own_outputs(graph, reference, frame):
    names = [output.name for output in reference._session.get_outputs() if output.name.startswith(FEATURES)]
    assert len(reference.features(frame)) == len(names) > 0


def test_the_fake_needs_numpy_alone():
    assert not {name for name in vars(sys.modules["engines.fake"]) if name in ("onnxruntime", "cv2", "openvino")}

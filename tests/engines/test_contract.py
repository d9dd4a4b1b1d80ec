"""What every engine on the CPU must do with frames, whatever computes it."""

import sys

import cv2
import numpy as np
import pytest

from engines.errors import FrameRefused
from engines.onnxruntime import OnnxRuntimeEngine
from engines.opencv import OpenCvEngine
from engines.openvino import OpenVinoEngine


@pytest.fixture(params=[OnnxRuntimeEngine, OpenVinoEngine, OpenCvEngine])
def engine(request, graph):
    if request.param is OpenVinoEngine:
        # As the engine does: the package must not tell anyone of this import either.
        sys.modules.setdefault("openvino_telemetry", None)
        pytest.importorskip("openvino")
    if request.param is OpenCvEngine and int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("OpenCV 4 cannot load a graph whose frame size is free")
    opened = request.param(graph)
    yield opened
    opened.close()


def test_frames_of_changing_size_are_scored_as_onnx_runtime_does(engine, reference):
    generator = np.random.default_rng(0)
    for size in ((96, 96), (64, 200), (480, 640), (31, 77), (2, 2), (96, 96)):
        frame = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
        found, expected = engine.infer(frame), reference.infer(frame)
        assert found.score == pytest.approx(expected.score, rel=1e-4)
        np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=1e-4 * expected.map.max())
        assert found.map.dtype == np.float32
    flipped = frame[:, ::-1]  # a view with negative strides
    score = engine.infer(flipped.copy()).score
    assert engine.infer(flipped).score == score
    flipped.flags.writeable = False
    assert engine.infer(flipped).score == score
    frozen = flipped.copy()
    frozen.flags.writeable = False
    assert engine.infer(frozen).score == score


def test_a_map_outlives_the_next_frame(engine, bundle):
    frames = bundle.golden().frames
    first = engine.infer(frames[0])
    kept = first.map.copy()
    assert not np.array_equal(engine.infer(frames[-1]).map, kept)
    np.testing.assert_array_equal(first.map, kept)


def test_a_frame_that_cannot_be_scored_is_refused_and_the_next_one_is_scored(engine, bundle):
    frame = bundle.golden().frames[0]
    expected = engine.infer(frame).score
    # A view of one pixel, as nobody has the memory of 3.6 thousand million.
    for bad in (np.broadcast_to(np.zeros(3, np.uint8), (60_000, 60_000, 3)), frame[:, :, 0], frame[:0]):
        with pytest.raises(FrameRefused):
            engine.infer(bad)
    assert engine.infer(frame).score == expected

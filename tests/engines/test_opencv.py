"""OpenCV's inference on a real bundle; OpenCV 4 says itself why it cannot."""

import cv2
import pytest

from edge_occ.bundle.bundle import ENCODER_GRAPH
from engines.base import Graph
from engines.errors import EngineUnavailable
from engines.opencv import OpenCvEngine
from engines.parity import require_parity

MAJOR = int(cv2.__version__.split(".")[0])
needs_opencv_5 = pytest.mark.skipif(MAJOR < 5, reason="OpenCV 4 loads no graph whose frame size is free")


@needs_opencv_5
def test_it_passes_the_gate(bundle):
    engine = OpenCvEngine(bundle.graph())
    parity = require_parity(engine, bundle.golden(), bundle.tolerance())
    assert parity.score_error < 1e-4
    assert (engine.name, engine.precision) == ("opencv", "fp32")
    assert cv2.__version__ in engine.detail
    engine.close()


@needs_opencv_5
def test_threads_are_as_asked_or_what_may_be_used(bundle, request, monkeypatch):
    usual = cv2.getNumThreads()
    request.addfinalizer(lambda: cv2.setNumThreads(usual))
    monkeypatch.setattr("engines.processors.usable_processors", lambda: usual + 1)
    OpenCvEngine(bundle.graph())
    assert cv2.getNumThreads() == usual + 1
    OpenCvEngine(bundle.graph(), threads=1)
    assert cv2.getNumThreads() == 1


@needs_opencv_5
def test_parts_that_do_not_belong_together_are_refused(bundle):
    graph = bundle.graph()
    with pytest.raises(EngineUnavailable, match=r"OpenCV .* says"):
        OpenCvEngine(Graph(graph.onnx, "fp32", {**graph.head, "mean": graph.head["mean"][:, :, :4]}))
    with pytest.raises(EngineUnavailable, match=r"OpenCV .* says"):
        OpenCvEngine(Graph(bundle.members[ENCODER_GRAPH], "fp32", graph.head))


def test_what_opencv_cannot_load_is_reported():
    with pytest.raises(EngineUnavailable, match=r"OpenCV .* says: \(-\d+:[^\n]+; install onnxruntime") as caught:
        OpenCvEngine(Graph(b"no model", "fp32", {}))
    assert caught.value.exit_code == 4


@pytest.mark.skipif(MAJOR >= 5, reason="OpenCV 5 loads the graph")
def test_opencv_4_says_why_it_cannot(bundle):
    # 4.5 stops at the first Squeeze, whose axes are an input since ONNX opset 13; 4.6 to 4.14 at the free frame size.
    with pytest.raises(EngineUnavailable, match=r'!isDynamicShape|layerParams.has\("axes"\)'):
        OpenCvEngine(bundle.graph())

"""OpenVINO on a real bundle, where it is installed; and what is said where it is not."""

import subprocess
import sys

import numpy as np
import pytest

from edge_occ.bundle.bundle import ENCODER_GRAPH
from engines.base import Graph
from engines.errors import EngineUnavailable, GraphRefused
from engines.openvino import OpenVinoEngine
from engines.parity import require_parity


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino")


def test_without_the_package_the_way_to_it_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineUnavailable, match="pip install openvino") as caught:
        OpenVinoEngine(Graph(b"", "fp32", {}))
    assert caught.value.exit_code == 4


def test_it_passes_the_gate(openvino, bundle):
    engine = OpenVinoEngine(bundle.graph())
    parity = require_parity(engine, bundle.golden(), bundle.tolerance())
    assert parity.score_error < 1e-4
    assert (engine.name, engine.precision) == ("openvino", "fp32")
    assert engine.detail.startswith("openvino 20")
    engine.close()


def test_arithmetic_is_float32_and_the_processors_are_shared(openvino, bundle):
    compiled = OpenVinoEngine(bundle.graph(), threads=1)._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert compiled.get_property("ENABLE_CPU_PINNING") is False


def test_threads_are_those_of_the_usable_processors(openvino, bundle, monkeypatch):
    monkeypatch.setattr("engines.processors.usable_processors", lambda: 1)
    compiled = OpenVinoEngine(bundle.graph())._request.get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1


@pytest.mark.parametrize("change", [lambda head: head[:, :, :4], lambda head: head.astype(np.float64)])
def test_a_head_that_does_not_belong_to_the_graph_is_refused(openvino, bundle, change):
    graph = bundle.graph()
    with pytest.raises(GraphRefused, match="head and graph do not match"):
        OpenVinoEngine(Graph(graph.onnx, "fp32", {**graph.head, "mean": change(graph.head["mean"])}))


def test_what_openvino_cannot_run_is_reported(openvino, bundle):
    with pytest.raises(EngineUnavailable, match="Unable to read the model"):
        OpenVinoEngine(Graph(b"no model", "fp32", {}))
    with pytest.raises(GraphRefused, match="a head of float32 no tensors"):
        OpenVinoEngine(Graph(bundle.members[ENCODER_GRAPH], "fp32", bundle.graph().head))


def test_nobody_is_reported_of_the_import(openvino, tmp_path):
    (tmp_path / "openvino_telemetry.py").write_text("raise SystemExit('telemetry was imported')")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from engines.base import Graph\n"
        "from engines.errors import EngineUnavailable\n"
        "from engines.openvino import OpenVinoEngine\n"
        "try: OpenVinoEngine(Graph(b'', 'fp32', {}))\n"
        "except EngineUnavailable: print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr

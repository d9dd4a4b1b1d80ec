"""The engine and the precision that open, and the messages for engines that do not."""

import logging
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec

import pytest
from fakes.install import installed
from fakes.tensorrt import FakeTensorRT
from mutations import of_later_onnx

from edge_occ.bundle.bundle import read_bundle
from engines import select
from engines.base import EngineOptions
from engines.cuda.probe import DriverProbe
from engines.errors import EngineUnavailable, GraphRefused, ParityFailure, UserError
from engines.parity import Golden
from engines.select import NAMES, GatedGraph, open_engine


@pytest.fixture(scope="module")
def fp32(tiny_bundle):
    bundle = read_bundle(tiny_bundle)
    return GatedGraph(bundle.graph(), bundle.golden(), bundle.tolerance())


@pytest.fixture
def options(tmp_path):
    return EngineOptions(cache=tmp_path / "cache", frame=(96, 96), max_frame=(240, 320))


@pytest.fixture
def jetson(monkeypatch):
    """A machine with a GPU, TensorRT 10.3 and pycuda, all of them fakes that compute."""
    fake = FakeTensorRT("10.3.0")
    monkeypatch.setitem(sys.modules, "tensorrt", fake.module)
    with installed(integrated=True):
        yield fake


@pytest.fixture
def said():
    return []


def in_precision(gated, precision):
    return replace(gated, graph=replace(gated.graph, precision=precision))


def spoilt(gated):
    """Its reference is another one than the graph computes."""
    golden = gated.golden
    return replace(gated, golden=Golden(golden.frames, golden.scores * 2, golden.maps, golden.threshold))


@pytest.fixture
def nothing_of_nvidia(monkeypatch):
    monkeypatch.setattr(select, "find_spec", lambda _name: None)
    monkeypatch.setattr(select, "l4t_release", lambda: None)
    monkeypatch.setattr(select, "probe_driver", lambda: DriverProbe(0, 0, "no CUDA driver"))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)


def test_without_a_gpu_auto_is_onnx_runtime_and_says_why_where_it_is_asked(fp32, said, nothing_of_nvidia, caplog):
    with caplog.at_level(logging.INFO, "engines.select"):
        engine, parity = open_engine("auto", {"fp32": fp32}, notify=said.append)
    assert (engine.name, engine.precision) == ("cpu", "fp32")
    assert parity.score_error < 1e-4
    engine.close()
    assert said == []
    assert "not tensorrt fp32: no CUDA driver" in caplog.text
    open_engine("auto", {"fp32": fp32}, notify=said.append, everything=True)[0].close()
    (line,) = said
    assert line.startswith("not tensorrt fp32: no CUDA driver")


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("find_spec", lambda _name: ModuleSpec("tensorrt", None)),
        ("l4t_release", lambda: "36.4.3"),
        ("probe_driver", lambda: DriverProbe(1, 12060)),
    ],
)
def test_where_something_of_nvidia_is_there_why_tensorrt_is_not_taken_is_notified(
    fp32, said, nothing_of_nvidia, monkeypatch, name, there
):
    monkeypatch.setattr(select, name, there)
    open_engine("auto", {"fp32": fp32}, notify=said.append)[0].close()
    (line,) = said
    assert line.startswith("not tensorrt fp32: no CUDA driver")


def test_with_a_gpu_auto_is_tensorrt_in_fp16(jetson, fp32, options, said):
    graphs = {"fp32": fp32, "fp16": in_precision(fp32, "fp16"), "int8": in_precision(fp32, "int8")}
    reported = []
    engine, _ = open_engine(
        "auto", graphs, options=options, notify=said.append, progress=lambda what, done: reported.append((what, done))
    )
    assert (engine.name, engine.precision) == ("tensorrt", "fp16")
    assert said == []
    assert reported[-1][1] == 1.0
    engine.close()


def test_out_of_tolerance_the_next_precision_is_tried(jetson, fp32, options, said):
    graphs = {"fp32": fp32, "fp16": spoilt(in_precision(fp32, "fp16"))}
    engine, _ = open_engine("tensorrt", graphs, options=options, notify=said.append)
    assert (engine.name, engine.precision) == ("tensorrt", "fp32")
    (line,) = said
    assert line.startswith("not tensorrt fp16: score error 5.0e-01")
    engine.close()


def test_a_precision_that_was_asked_for_is_not_replaced(jetson, fp32, options):
    graphs = {"fp32": fp32, "fp16": spoilt(in_precision(fp32, "fp16"))}
    with pytest.raises(ParityFailure, match="engine tensorrt fp16") as caught:
        open_engine("tensorrt", graphs, "fp16", options)
    assert caught.value.exit_code == 3


def test_auto_leaves_an_engine_that_computes_something_else(jetson, fp32, options, said):
    jetson.scale = 2.0
    engine, _ = open_engine("auto", {"fp32": fp32}, options=options, notify=said.append)
    assert engine.name == "cpu"
    (line,) = said
    assert line.startswith("not tensorrt fp32: score error 1.0e+00")
    engine.close()


def test_a_bundle_that_no_engine_reproduces_is_refused(fp32):
    with pytest.raises(ParityFailure) as caught:
        open_engine("auto", {"fp32": spoilt(fp32)})
    assert caught.value.exit_code == 3


def test_with_nothing_that_runs_everything_that_was_tried_is_reported(fp32, monkeypatch):
    monkeypatch.setattr("engines.select._automatic", lambda: ["tensorrt", "cpu"])  # OpenVINO takes any operator set
    broken = replace(fp32, graph=replace(fp32.graph, onnx=of_later_onnx(fp32.graph.onnx)))
    with pytest.raises(EngineUnavailable, match=r"no CUDA driver.*onnxruntime .* says.*edge-occ doctor") as caught:
        open_engine("auto", {"fp32": broken})
    assert caught.value.exit_code == 4


def test_a_graph_that_nothing_could_run_is_the_bundles_fault(fp32):
    broken = replace(fp32, graph=replace(fp32.graph, onnx=b"no model"))
    with pytest.raises(GraphRefused, match="copy the bundle again") as caught:
        open_engine("auto", {"fp32": broken})
    assert caught.value.exit_code == 3


class Stumbling:
    """An engine that loads and cannot score."""

    name, precision, closed = "cpu", "fp32", False

    def infer(self, frame):
        raise RuntimeError("a place beyond the tensor\nand more")

    def close(self):
        self.closed = True


def test_words_of_a_runtime_that_fails_on_golden_frames_are_reported(fp32, monkeypatch):
    engine = Stumbling()
    monkeypatch.setattr("engines.select._engine", lambda *arguments: engine)
    with pytest.raises(ParityFailure, match="a place beyond the tensor") as caught:
        open_engine("cpu", {"fp32": fp32})
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert engine.closed


def test_tensorrt_without_a_driver_is_not_available(fp32):
    with pytest.raises(EngineUnavailable, match="no CUDA driver") as caught:
        open_engine("tensorrt", {"fp32": fp32})
    assert caught.value.exit_code == 4


def test_unknown_names_list_the_known(fp32):
    with pytest.raises(UserError, match=", ".join(NAMES)):
        open_engine("gpu", {"fp32": fp32})
    with pytest.raises(UserError, match="auto, fp32, which are in the bundle"):
        open_engine("cpu", {"fp32": fp32}, "int8")


def test_every_engine_is_said_to_be_missing_or_passes(fp32):
    passed = set()
    for name in NAMES[1:]:
        try:
            engine, parity = open_engine(name, {"fp32": fp32})
        except EngineUnavailable:
            continue
        passed.add(engine.name)
        assert engine.name == name
        assert parity.score_error < 1e-4
        engine.close()
    assert "cpu" in passed

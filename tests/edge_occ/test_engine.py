"""A bundle's engine on this machine."""

import numpy as np
import pytest

from edge_occ.bundle import read_bundle
from edge_occ.engine import load_engine
from engines import select
from engines.base import EngineOptions
from engines.errors import ParityFailure, UserError


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return read_bundle(tiny_bundle)


def test_every_precision_runs_or_is_refused_by_the_gate(bundle, right_precisions):
    assert bundle.precisions == ("fp32", "fp16", "int8")
    for precision in bundle.precisions:
        try:
            loaded = load_engine(bundle, "cpu", precision)
        except ParityFailure:
            assert precision not in right_precisions
            continue
        assert loaded.engine.precision == precision
        assert loaded.summary.startswith(f"engine cpu {precision} (onnxruntime ")
        assert loaded.summary.endswith(f"{max(loaded.parity.score_error, loaded.parity.map_error):.1e}")
        loaded.engine.close()


def test_a_precision_that_is_not_there_is_told(bundle):
    with pytest.raises(UserError, match="which are in the bundle"):
        load_engine(bundle, "cpu", "fp8")


def test_an_engine_is_built_for_the_frames_of_the_training_and_the_gate(bundle, monkeypatch):
    asked = []

    def open_engine(name, candidates, precision, options, **_):
        asked.append(options)
        return real(name, candidates, precision, options)

    real = select.open_engine
    monkeypatch.setattr("edge_occ.engine.open_engine", open_engine)
    load_engine(bundle, "cpu", options=EngineOptions(max_frame=(50, 4000))).engine.close()
    (options,) = asked
    sizes = np.array([frame.shape[:2] for frame in bundle.golden().frames])
    assert options.frame == bundle.manifest.geometry.frame == (112, 112)
    assert options.max_frame == (max(sizes[:, 0]), 4000)


@pytest.mark.parametrize("name", ["cpu", "openvino", "opencv"])
def test_no_engine_takes_more_threads_than_there_are_processors(bundle, name):
    if name == "openvino":
        pytest.importorskip("openvino")
    with pytest.raises(UserError, match="threads, as this machine has"):
        load_engine(bundle, name, options=EngineOptions(threads=100_000))

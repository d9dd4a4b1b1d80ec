"""The figures of bench, with an engine of known speed."""

import time
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from fakes.engine import PartialEngine

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.loading import LoadedEngine
from edge_occ.runtime import benchmark as bench
from engines.base import Scores
from engines.parity import Parity


class SlowEngine(PartialEngine):
    """Takes 30 ms a frame, and remembers whether it is open."""

    name = "slow"

    def __init__(self):
        self.closed = False

    @property
    def detail(self):
        return "closed" if self.closed else "open"

    def infer(self, frame):
        time.sleep(0.03)
        return Scores(1.0, np.zeros((8, 8), np.float32))

    def close(self):
        self.closed = True


@contextmanager
def counted(monkeypatch, name):
    """Counts what bench opens and closes of a kind of session."""
    kind: Any = getattr(bench, name)
    counts = {"opened": 0, "closed": 0}

    class Counted(kind):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            counts["opened"] += 1

        def close(self):
            super().close()
            counts["closed"] += 1

    with monkeypatch.context() as patch:
        patch.setattr(bench, name, Counted)
        yield counts


@pytest.fixture
def without_windows(monkeypatch):
    monkeypatch.setattr(bench, "_dense", lambda *_: None)


def test_latency_is_that_of_a_paced_source_and_not_of_a_full_queue(tiny_bundle, without_windows):
    engine = SlowEngine()
    content = bench.run_bench(tiny_bundle, 15, lambda *_: LoadedEngine(engine, Parity(0.0, 0.0, 0, 6)), "slow")
    whole = content["end_to_end"]
    # A queue of four frames before the engine makes it five times as long as the engine.
    assert 30 <= whole["ms"]["p50"] < 2.5 * content["engine"]["ms"]["p50"]
    assert whole["paced_fps"] == pytest.approx(whole["fps"] / 2, abs=0.01)
    assert whole["of_engine"] > 0.5


def test_the_engine_is_described_while_it_is_open_and_then_closed(tiny_bundle, without_windows):
    engine = SlowEngine()
    content = bench.run_bench(tiny_bundle, 10, lambda *_: LoadedEngine(engine, Parity(0.0, 0.0, 0, 6)), "slow")
    assert content["engine"]["detail"] == "open"
    assert engine.closed


def test_the_engine_is_closed_when_it_fails(tiny_bundle, without_windows):
    class Failing(SlowEngine):
        def infer(self, frame):
            raise ZeroDivisionError

    engine = Failing()
    with pytest.raises(ZeroDivisionError):
        bench.run_bench(tiny_bundle, 10, lambda *_: LoadedEngine(engine, Parity(0.0, 0.0, 0, 6)), "slow")
    assert engine.closed


def test_every_session_of_the_dense_comparison_is_closed(tiny_bundle, monkeypatch):
    bundle = read_bundle(tiny_bundle)
    with counted(monkeypatch, "EncoderRunner") as encoders, counted(monkeypatch, "OnnxRuntimeEngine") as engines:
        assert bench._dense(bundle, bundle.golden().frames[0])["ratio"] > 0
    assert encoders == engines == {"opened": 1, "closed": 1}

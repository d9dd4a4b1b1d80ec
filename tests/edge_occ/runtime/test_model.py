"""The parts of a bundle that a run uses, and its engine."""

from __future__ import annotations

import weakref
from contextlib import closing
from dataclasses import dataclass, field

import pytest

from edge_occ.bundle.operating_points import DecisionConfig
from edge_occ.common.errors import BundleRefused, EngineUnavailable, InputError
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.runtime import model
from edge_occ.runtime.config import EngineConfig
from edge_occ.runtime.model import open_engine, read_model
from edge_occ.sources.fake import FakeSource
from engines import onnxruntime

CPU = EngineConfig(name="cpu", threads=1)


@dataclass
class Served:
    """A camera as its engine knows it."""

    publisher: Announcements | None = None
    source: FakeSource = field(default_factory=lambda: FakeSource([]))


class Announcements:
    """Stands for a publisher, and keeps what it announces."""

    def __init__(self):
        self.states = []

    def announce(self, state, detail=None):
        self.states.append((state, detail))


def test_a_model_has_the_name_of_the_file_and_the_thresholds_of_the_settings(tiny_bundle):
    usual, bundle = read_model(tiny_bundle, None, DecisionConfig())
    strict, _ = read_model(tiny_bundle, None, DecisionConfig(reject_rate=0.3))
    assert usual.name == tiny_bundle.name
    assert usual.manifest == bundle.manifest
    assert strict.decision.reject.threshold < usual.decision.reject.threshold


@pytest.mark.parametrize(
    ("name", "sha256", "error"), [("none.occ", None, InputError), ("discs.occ", "0" * 64, BundleRefused)]
)
def test_a_bundle_that_is_missing_or_another_one_is_refused(tiny_bundle, name, sha256, error):
    with pytest.raises(error):
        read_model(tiny_bundle.with_name(name), sha256, DecisionConfig())


def test_an_engine_that_need_not_be_built_is_not_announced(tiny_bundle):
    publisher = Announcements()
    _, bundle = read_model(tiny_bundle, None, DecisionConfig())
    loaded = open_engine(bundle, CPU, [Served(publisher)], lambda _: None)
    assert loaded.summary.startswith("engine cpu fp32 ")
    assert publisher.states == []
    loaded.engine.close()


def test_all_cameras_say_that_an_engine_is_being_built_and_that_it_is_ready(tiny_bundle, monkeypatch):
    load = model.load_engine

    def build(*arguments, progress, **options):
        progress("building", 0.5)
        assert [p.states for p in publishers] == [[(DeviceState.BUILDING, "building")]] * 2
        return load(*arguments, progress=progress, **options)

    monkeypatch.setattr(model, "load_engine", build)
    publishers = [Announcements(), Announcements()]
    _, bundle = read_model(tiny_bundle, None, DecisionConfig())
    open_engine(bundle, CPU, [Served(), *map(Served, publishers)], lambda _: None).engine.close()
    assert [p.states[-1] for p in publishers] == [(DeviceState.ONLINE, None)] * 2


def test_the_bundle_is_not_kept_by_the_engine_nor_by_those_that_failed(tiny_bundle):
    """A bundle may be larger than all frames in flight."""
    _, bundle = read_model(tiny_bundle, None, DecisionConfig())
    alive = weakref.ref(bundle)
    loaded = open_engine(bundle, EngineConfig(threads=1), [], lambda _: None)
    del bundle
    assert alive() is None
    loaded.engine.close()


def test_an_engine_that_is_not_here_is_an_error(tiny_bundle):
    _, bundle = read_model(tiny_bundle, None, DecisionConfig())
    with pytest.raises(EngineUnavailable):
        open_engine(bundle, EngineConfig(name="tensorrt"), [], lambda _: None)


@pytest.mark.parametrize(("live", "parallel"), [((False, False), 2), ((False, True), 1), ((True,), 1)])
def test_frames_are_scored_several_at_a_time_where_all_come_from_files(tiny_bundle, monkeypatch, live, parallel):
    monkeypatch.setattr(onnxruntime, "thread_count", lambda asked: asked or 2)
    _, bundle = read_model(tiny_bundle, None, DecisionConfig())
    cameras = [Served(source=FakeSource([], live=each)) for each in live]
    with closing(open_engine(bundle, EngineConfig(name="cpu"), cameras, lambda _: None).engine) as engine:
        assert engine.parallel == parallel

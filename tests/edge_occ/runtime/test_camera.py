"""The parts of one camera of a station."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from discs import part, write

from edge_occ.bundle.operating_points import DecisionConfig
from edge_occ.common.errors import InputError, UserError
from edge_occ.mqtt.commands.service import CommandService
from edge_occ.output.console import ConsoleSink
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.runtime.camera import Camera
from edge_occ.runtime.config import EventConfig, RunConfig
from edge_occ.runtime.heartbeat import Heartbeat
from edge_occ.runtime.model import open_engine, read_model
from edge_occ.runtime.plan import CameraPlan
from edge_occ.runtime.scheduler import Scheduler
from edge_occ.sources.frame import Frame


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


@pytest.fixture
def pictures(tmp_path):
    for seed in range(4):
        write(tmp_path / "pictures" / f"{seed}.png", part(seed))
    return str(tmp_path / "pictures")


def plan(lines, *, json=False, alone=True, **settings):
    config = RunConfig.model_validate({"engine": {"name": "cpu", "threads": 1}, **settings})
    return CameraPlan(config, None, json, alone, Heartbeat([]), lines.append, CommandService(()))


def inspect(camera, model, bundle, config, stack):
    """Inspect all frames; return what the camera's inspector counted."""
    loaded = open_engine(bundle, config.engine, [], lambda _: None)
    stack.callback(loaded.engine.close)
    lane = camera.lane(model, loaded)
    stack.enter_context(camera.source)
    Scheduler([lane]).run()
    return lane.inspector


@pytest.mark.parametrize(("json", "kind"), [(False, ConsoleSink), (True, JsonLinesSink)])
def test_results_are_printed_for_people_or_as_json(tiny_bundle, pictures, stack, json, kind):
    model, _ = read_model(tiny_bundle, None, DecisionConfig())
    assert isinstance(Camera("", pictures, plan([], json=json), model, stack).screen, kind)


def test_lines_carry_the_name_of_a_camera_that_has_one(tiny_bundle, pictures, stack):
    model, _ = read_model(tiny_bundle, None, DecisionConfig())
    lines = []
    for name in ("left", ""):
        Camera(name, pictures, plan(lines, alone=False), model, stack).notify("a line")
    assert lines == ["left: a line", "a line"]


def test_a_source_that_is_wrong_is_an_error_at_once(tiny_bundle, stack, tmp_path):
    model, _ = read_model(tiny_bundle, None, DecisionConfig())
    with pytest.raises(InputError):
        Camera("", str(tmp_path / "none.mp4"), plan([]), model, stack)


def test_another_threshold_is_used_from_the_next_frame_on_and_drift_is_measured_anew(tiny_bundle, pictures, stack):
    """No score is below a threshold of almost nothing."""
    shared = plan([])
    model, bundle = read_model(tiny_bundle, None, DecisionConfig())
    decision = replace(model.decision, reject=model.decision.reject.model_copy(update={"threshold": 1e-9}))
    strict = replace(model, decision=decision)
    loaded = open_engine(bundle, shared.config.engine, [], lambda _: None)
    stack.callback(loaded.engine.close)
    anomalous = {}
    for name, used in (("usual", model), ("strict", strict)):
        camera = Camera(name, pictures, shared, model, stack)
        lane = camera.lane(model, loaded)
        camera.use(shared.config, camera.view, used, loaded)
        stack.enter_context(camera.source)
        Scheduler([lane]).run()
        anomalous[name] = lane.inspector.summary(0).anomalous
    assert anomalous["usual"] < anomalous["strict"] == 4


def test_a_region_is_of_the_camera_that_it_names(tiny_bundle, pictures, stack):
    model, bundle = read_model(tiny_bundle, None, DecisionConfig())
    shared = plan([], alone=False, roi={"left": [500, 500, 10, 10]})
    with pytest.raises(UserError, match="none for any frame"):
        inspect(Camera("left", pictures, shared, model, stack), model, bundle, shared.config, stack)
    assert inspect(Camera("right", pictures, shared, model, stack), model, bundle, shared.config, stack).frames == 4


def test_the_snapshot_has_drift_and_what_other_outputs_lost(tiny_bundle, tiny_data, stack):
    model, bundle = read_model(tiny_bundle, None, DecisionConfig())
    shared = plan([])
    camera = Camera("", str(tiny_data / "test" / "spot"), shared, model, stack)
    camera.add(SimpleNamespace(name="full disk"))  # each of its methods is missing, which is an error
    inspector = inspect(camera, model, bundle, shared.config, stack)
    shown, summary = camera.snapshot(), inspector.summary(0)
    assert shown.output_lost == summary.lost["full disk"] > 0
    assert shown.drift.anomalous_share == pytest.approx(summary.anomalous / summary.frames)
    assert summary.anomalous > 0


def test_evidence_is_kept_below_a_folder_of_the_camera(tiny_bundle, tmp_path, stack, tiny_data):
    model, bundle = read_model(tiny_bundle, None, DecisionConfig())
    shared = plan([], alone=False, evidence={"folder": str(tmp_path / "kept")})
    with ExitStack() as run:
        camera = Camera("left", str(tiny_data / "test" / "spot"), shared, model, run)
        inspector = inspect(camera, model, bundle, shared.config, run)
        assert inspector.summary(0).events == 1
    (event,) = (tmp_path / "kept" / "left").glob("*/*")
    assert (event / "end.json").exists()
    assert len(list(event.glob("start-*/frame.png"))) == 1


def test_two_cameras_of_one_name_do_not_share_evidence(tiny_bundle, pictures, tmp_path, stack):
    model, _ = read_model(tiny_bundle, None, DecisionConfig())
    shared = plan([], alone=False, evidence={"folder": str(tmp_path / "kept")})
    Camera("left", pictures, shared, model, stack)
    with pytest.raises(InputError, match="one inspector for the evidence"):
        Camera("left", pictures, shared, model, stack)


def test_an_open_event_goes_on_over_a_reload_unless_its_settings_or_the_region_have_changed(
    tiny_bundle, pictures, stack
):
    """With a threshold of almost nothing, every frame is anomalous."""
    shared = plan([])
    model, bundle = read_model(tiny_bundle, None, DecisionConfig())
    reject = model.decision.reject.model_copy(update={"threshold": 1e-9})
    strict = replace(model, decision=replace(model.decision, reject=reject))
    loaded = open_engine(bundle, shared.config.engine, [], lambda _: None)
    stack.callback(loaded.engine.close)
    camera = Camera("", pictures, shared, strict, stack)
    inspector = camera.lane(strict, loaded).inspector
    changed = shared.config.model_copy(update={"event": EventConfig(k=1, n=2)})
    smaller = changed.model_copy(update={"roi": (0, 0, 64, 64)})
    outside = changed.model_copy(update={"roi": (9000, 0, 64, 64)})
    events = []
    for config in (shared.config, shared.config, changed, smaller, outside):
        camera.use(config, config.view_of(""), strict, loaded)
        inspector.take(Frame(0, datetime.now(timezone.utc), 0.0, part(0), "0.png"))
        events.append(inspector.counts().events)
    assert events == [1, 1, 2, 3, 3]
    assert inspector.counts().faults == {"frame": 1}

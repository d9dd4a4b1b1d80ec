"""The composed application, without the command line."""

import json
import re
import weakref
from types import SimpleNamespace
from uuid import uuid4

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, free_port

from edge_occ.bundle.bundle import read_bundle
from edge_occ.bundle.operating_points import DecisionConfig, decide
from edge_occ.common.errors import BundleRefused, EngineUnavailable, EventsLost, InputError
from edge_occ.mqtt.publisher import Publisher
from edge_occ.runtime import camera, model, station
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.station import Station


@pytest.fixture
def spot(tiny_data):
    return str(tiny_data / "test" / "spot")


@pytest.fixture
def config(broker):
    mqtt = {"broker": broker.url, "prefix": "plant/station", "device": f"d{uuid4().hex[:8]}"}
    return RunConfig.model_validate({"engine": {"name": "cpu"}, "mqtt": mqtt})


@pytest.fixture
def ear(broker, config):
    with Ear(broker.port, f"{config.mqtt.prefix}/{config.mqtt.device}/#") as listener:
        yield listener


def states(ear):
    ear.wait_for_state("offline")
    return [json.loads(bytes(message.payload))["state"] for message in ear.of("status")]


def test_it_inspects_publishes_and_returns_the_figures(tiny_bundle, spot, config, ear):
    lines = []
    summary = Station(config, tiny_bundle, {"": spot}, max_frames=3).run(lines.append)[""]
    assert (summary.frames, summary.dropped, summary.lost) == (3, 0, {})
    assert states(ear)[-2:] == ["online", "offline"]
    assert [json.loads(bytes(message.payload))["frame"] for message in ear.of("score")] == [0, 1, 2]
    assert lines[0].startswith("engine cpu ")
    assert lines[-1:] == summary.lines()


@pytest.mark.parametrize(
    ("cameras", "ids"),
    [([""], {"thing-7"}), (["left"], {"thing-7"}), (["left", "right"], {"thing-7-left", "thing-7-right"})],
)
def test_every_camera_is_a_client_with_an_id_of_its_own(tiny_bundle, spot, config, tmp_path, cameras, ids):
    log = tmp_path / "broker.log"
    broker = Mosquitto(tmp_path, ["allow_anonymous true", f"log_dest file {log}"]).start()
    try:
        mqtt = config.mqtt.model_copy(update={"broker": broker.url, "client_id": "thing-7"})
        Station(config.model_copy(update={"mqtt": mqtt}), tiny_bundle, dict.fromkeys(cameras, spot)).run(lambda _: None)
    finally:
        broker.stop()
    assert set(re.findall(r"New client connected from \S+ as (\S+) ", log.read_text())) == ids


def test_without_mqtt_no_broker_is_asked(tiny_bundle, spot):
    config = RunConfig.model_validate({"mqtt": {"broker": f"mqtt://127.0.0.1:{free_port()}"}})
    lines = []
    assert Station(config, tiny_bundle, {"": spot}, publish=False, start_broker=True).run(lines.append)[""].frames == 4
    assert not any("broker" in line for line in lines)
    assert Station(config, tiny_bundle, {"": spot}, start_broker=True).run(lines.append)[""].frames == 4
    assert sum("started one for this run" in line for line in lines) == 1


def test_without_a_broker_the_run_goes_on_and_says_what_is_left_for_the_next_one(tiny_bundle, spot, config, broker):
    port = free_port()
    config = config.model_copy(update={"mqtt": config.mqtt.model_copy(update={"broker": f"mqtt://127.0.0.1:{port}"})})
    lines = []
    assert Station(config, tiny_bundle, {"": spot}).run(lines.append)[""].frames == 4
    (line,) = (line for line in lines if "next run" in line)
    assert re.fullmatch(r"3 event messages kept in /\S+\.outbox\.sqlite for the next run", line)
    with Ear(broker.port, f"{config.mqtt.prefix}/{config.mqtt.device}/#") as ear, Link(broker.port, port):
        lines = []
        Station(config, tiny_bundle, {"": spot}).run(lines.append)
        ear.wait_for_state("offline")
        events = [json.loads(bytes(message.payload)) for message in ear.of("event")]
    assert [(event["phase"], event["historical"]) for event in events] == [
        (phase, historical) for historical in (True, False) for phase in ("start", "update", "end")
    ]  # fmt: skip
    assert not any("next run" in line for line in lines)


def test_subscribers_see_that_an_engine_is_being_built_before_the_source_starts(
    tiny_bundle, spot, config, ear, monkeypatch
):
    """The order is: broker, engine, source; the status topic follows it."""
    order = []

    def load(bundle, *arguments, progress, **options):
        ear.wait_for_state("online")
        progress("building", 0.5)
        ear.wait_for_state("building")
        order.append("engine")
        return loaded(bundle, *arguments, progress=progress, **options)

    def open_source(*arguments, **options):
        source = opened(*arguments, **options)
        enter = type(source).__enter__
        monkeypatch.setattr(type(source), "__enter__", lambda self: order.append("source") or enter(self))
        return source

    loaded, opened = model.load_engine, camera.open_source
    monkeypatch.setattr(model, "load_engine", load)
    monkeypatch.setattr(camera, "open_source", open_source)
    Station(config, tiny_bundle, {"": spot}).run(lambda line: None)
    assert order == ["engine", "source"]
    assert states(ear)[-4:] == ["online", "building", "online", "offline"]


def test_an_engine_that_is_not_there_takes_the_device_offline(tiny_bundle, spot, config, ear):
    engine = config.engine.model_copy(update={"name": "tensorrt"})
    with pytest.raises(EngineUnavailable):
        Station(config.model_copy(update={"engine": engine}), tiny_bundle, {"": spot}).run(lambda line: None)
    assert states(ear)[-2:] == ["online", "offline"]
    assert ear.of("score") == []


def test_a_bundle_of_another_digest_is_refused_before_anything_starts(tiny_bundle, spot, config, ear):
    with pytest.raises(BundleRefused):
        Station(config, tiny_bundle, {"": spot}, sha256="0" * 64).run(lambda line: None)
    assert ear.heard == []


def test_rates_of_the_settings_set_the_verdicts_and_drift_is_in_the_statistics(tiny_bundle, spot, config, ear):
    decision = {"reject_rate": 0.2, "review_rate": 0.4}
    settings = RunConfig.model_validate({**config.model_dump(mode="json"), "decision": decision})
    expected = decide(read_bundle(tiny_bundle), settings.decision)
    lines = []
    Station(settings, tiny_bundle, {"": spot}).run(lines.append)
    assert expected.guarantee() in lines
    states(ear)
    scores = [json.loads(bytes(message.payload)) for message in ear.of("score")]
    judge = expected.threshold
    assert {(s["threshold"], s["review_threshold"]) for s in scores} == {(judge.threshold, judge.review_threshold)}
    assert [s["verdict"] for s in scores] == [judge.verdict(s["score"]).name for s in scores]
    stats = json.loads(bytes(ear.of("stats")[-1].payload))
    assert stats["declared_rate"] == pytest.approx(expected.reject.expected, abs=1e-6)
    assert stats["drift_alarm"] == 0


def test_a_rate_that_the_bundle_cannot_certify_is_refused_before_anything_starts(tiny_bundle, spot, config, ear):
    settings = config.model_copy(update={"decision": DecisionConfig(reject_rate=1e-6)})
    with pytest.raises(InputError, match=r"decision\.reject_rate of at least .* use --set decision\.reject_rate="):
        Station(settings, tiny_bundle, {"": spot}).run(lambda line: None)
    assert ear.heard == []


def test_the_figures_come_before_the_error(tiny_bundle, tmp_path, config):
    lines = []
    (tmp_path / "a.png").write_bytes(b"damaged")
    with pytest.raises(InputError, match="none of them usable"):
        Station(config, tiny_bundle, {"": str(tmp_path)}, publish=False).run(lines.append)
    assert lines[-2].startswith("0 frames")
    assert lines[-1] == "not inspected: 1 unreadable"


def test_lost_events_are_an_error_that_counts_them(tiny_bundle, spot, config, monkeypatch):
    delivery = SimpleNamespace(dropped={"event": 1, "score": 9}, refused={"event": 2}, failed={"heatmap": 4})
    monkeypatch.setattr(Publisher, "summary", delivery)
    lines = []
    with pytest.raises(EventsLost) as caught:
        Station(config, tiny_bundle, {"": spot}).run(lines.append)
    assert caught.value.counts == {"dropped": 1, "refused": 2, "failed": 0}
    assert caught.value.found.startswith("3 lost (1 not delivered, 2 refused")
    assert "4 frames" in lines[-1]


def test_the_bundle_is_released_before_the_first_frame(tiny_bundle, spot, config, monkeypatch):
    """A bundle may be larger than all frames in flight; the engine has copied what it needs."""
    opened, alive = [], []

    def read_bundle(*arguments):
        bundle = read(*arguments)
        opened.append(weakref.ref(bundle))
        return bundle

    class Watching(station.Scheduler):
        def run(self, *arguments):
            alive.extend(reference() for reference in opened)
            return super().run(*arguments)

    read = model.read_bundle
    monkeypatch.setattr(model, "read_bundle", read_bundle)
    monkeypatch.setattr(station, "Scheduler", Watching)
    Station(config, tiny_bundle, {"": spot}).run(lambda line: None)
    assert alive == [None]

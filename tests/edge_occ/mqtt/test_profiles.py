"""Topics and payloads of other platforms."""

import json
import re
from uuid import uuid4

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, inspection, payloads, render, wait_until
from pydantic import ValidationError

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.profiles import PROFILES, messages_of, platform_messages
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.schemas import json_schemas
from edge_occ.mqtt.topics import Topics
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.station import Station

TOPICS = Topics("acme/line3", "press.7", "left")
CONTENT: dict[str, dict] = {
    "score": {"ts": 5, "score": 1.5, "p_value": 0.25, "threshold": 1.0, "anomalous": 1, "latency_ms": 3.0, "frame": 1},
    "event": {"ts": 6, "event_type": "end", "peak": 2.5, "duration_s": 0.5, "historical": False, "id": "x"},
}


@pytest.mark.parametrize("profile", ["thingsboard", "umh"])
def test_home_assistant_cannot_read_another_profile(profile):
    with pytest.raises(ValidationError, match="discovery needs profile native"):
        MqttConfig(profile=profile, discovery=True)


@pytest.mark.parametrize("kind", ["score", "event", "stats"])
def test_the_native_profile_changes_nothing(kind):
    assert platform_messages("native", TOPICS, kind, b"not even JSON") == [(TOPICS.of(kind), b"not even JSON")]


def test_thingsboard_gets_one_telemetry_message():
    ((topic, payload),) = platform_messages("thingsboard", TOPICS, "score", json.dumps(CONTENT["score"]).encode())
    assert topic == "v1/devices/me/telemetry"
    values = {key: CONTENT["score"][key] for key in ("score", "p_value", "threshold", "anomalous", "latency_ms")}
    assert json.loads(payload) == {"ts": 5, "values": values}
    ((topic, payload),) = platform_messages("thingsboard", TOPICS, "event", json.dumps(CONTENT["event"]).encode())
    assert json.loads(payload) == {
        "ts": 6, "values": {"event_type": "end", "peak": 2.5, "duration_s": 0.5, "historical": False}
    }  # fmt: skip


def test_the_united_manufacturing_hub_gets_one_tag_a_topic():
    sent = platform_messages("umh", TOPICS, "event", json.dumps(CONTENT["event"]).encode())
    assert [(topic, json.loads(payload)) for topic, payload in sent] == [
        (f"umh/v1/acme/line3/press_7/left/_raw/{key}", {"timestamp_ms": 6, "value": CONTENT["event"][key]})
        for key in ("event_type", "peak", "duration_s")
    ]
    assert messages_of("umh", "event") == 3
    assert messages_of("umh", "stats") == messages_of("thingsboard", "event") == 1


def test_keys_of_profiles_are_in_the_schemas():
    for routes in PROFILES.values():
        for kind, route in routes.items():
            assert {*route.keys, "ts"} <= set(json_schemas()[kind]["required"])


def test_an_unknown_profile_is_refused():
    with pytest.raises(ValidationError, match="thingsboard"):
        MqttConfig(profile="azure")


@pytest.mark.parametrize("profile", ["thingsboard", "umh"])
def test_a_run_sends_scores_and_events_to_the_platform_alone(own_broker, tiny_bundle, tiny_data, profile):
    prefix = f"acme/{uuid4().hex[:8]}"
    mqtt = {"broker": own_broker.url, "prefix": prefix, "device": "press-1", "profile": profile}
    config = RunConfig.model_validate({"engine": {"name": "cpu"}, "mqtt": mqtt})
    with Ear(own_broker.port, "#") as ear:
        Station(config, tiny_bundle, {"": str(tiny_data / "test" / "spot")}).run(lambda _: None)
        ear.wait_for_state("offline")
        heard = list(ear.heard)
    assert {m.topic.rpartition("/")[2] for m in heard if m.topic.startswith(prefix)} == {"status", "stats", "heatmap"}
    sent = [message for message in heard if not message.topic.startswith(prefix)]
    if profile == "thingsboard":
        assert {message.topic for message in sent} == {"v1/devices/me/telemetry"}
        values = [payload["values"] for payload in payloads(sent)]
        assert sum("score" in value for value in values) == 4
        assert [value["event_type"] for value in values if "event_type" in value] == ["start", "update", "end"]
    else:
        beginning = f"umh/v1/{prefix}/press-1/_raw/"
        assert all(re.fullmatch(rf"{beginning}\w+", message.topic) for message in sent)
        assert all(set(payload) == {"timestamp_ms", "value"} for payload in payloads(sent))
        tags = {}
        for message, payload in zip(sent, payloads(sent), strict=True):
            tags.setdefault(message.topic.removeprefix(beginning), []).append(payload["value"])
        assert len(tags["score"]) == len(tags["anomalous"]) == 4
        assert tags["event_type"] == ["start", "update", "end"]
        assert len(tags["peak"]) == 3


def test_events_of_an_outage_reach_the_platform_later_and_in_order(own_broker, config):
    with Link(own_broker.port) as link, Ear(own_broker.port, "umh/#") as ear:
        config = config.model_copy(update={"broker": link.url, "profile": "umh"})
        with Publisher(config, render) as publisher:
            link.hold()  # the link alone breaks: the subscriber stays
            link.cut()
            for index, phase in enumerate(Phase):
                publisher.publish(inspection(index, 2.0 + index, event=phase, of="one"))
            link.release()
            wait_until(lambda: publisher.summary.published.get("event") == 3, "the events")
        phases = ear.wait_for(lambda heard: sum(m.topic.endswith("/event_type") for m in heard) >= 3, "all phases")
    found = [payload["value"] for payload in payloads(m for m in phases if m.topic.endswith("/event_type"))]
    assert list(dict.fromkeys(found)) == ["start", "update", "end"]


def test_a_broker_that_takes_two_unconfirmed_messages_gets_all_events(tmp_path, config):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_inflight_messages 2"]).start()
    try:
        config = config.model_copy(update={"broker": broker.url, "profile": "umh"})
        with Publisher(config, render) as publisher:
            for index in range(5):
                publisher.publish(inspection(index, 2.0, event=Phase.START, of=f"e{index}"))
            wait_until(lambda: publisher.summary.published.get("event") == 5, "the events")
        assert publisher.lost_events == 0
    finally:
        broker.stop()

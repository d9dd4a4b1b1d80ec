"""Home Assistant's discovery: the description, and when it is published."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import Ear, Link, Mosquitto, inspection, payloads, render, tool, wait_until

from edge_occ.common.errors import InputError
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.discovery import discovery_document, discovery_id, discovery_payload, discovery_topic
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.schemas import json_schemas
from edge_occ.mqtt.topics import Topics, split_topic

TOPICS = Topics("plant/line3/edge-occ", "station-7", "left")
PAGE = Path(__file__).parents[3] / "docs" / "dashboards" / "home-assistant.md"
REQUIRED = {
    "image": {"image_topic", "content_type"},
    "sensor": {"state_topic", "value_template"},
    "binary_sensor": {"state_topic", "value_template", "payload_on", "payload_off", "device_class"},
    "event": {"state_topic", "event_types"},
}
LEVEL = st.text(
    st.characters(codec="ascii", categories=["L", "N"], include_characters="-_. %="), min_size=1, max_size=8
)


def test_the_description_has_what_home_assistant_needs():
    document = discovery_document(TOPICS)
    assert set(document) == {"dev", "o", "availability", "cmps"}
    assert document["dev"]["ids"]
    assert document["dev"]["name"] == "station-7 left"
    assert document["o"]["name"] == "edge-occ"
    entities = document["cmps"]
    assert {key: entity["p"] for key, entity in entities.items()} == {
        "heatmap": "image", "score": "sensor", "anomalous": "binary_sensor", "event": "event",
        "drift": "binary_sensor", "state": "sensor",
    }  # fmt: skip
    for entity in entities.values():
        assert set(entity) >= {"p", "unique_id", "name"} | REQUIRED[entity["p"]]
    assert len({entity["unique_id"] for entity in entities.values()}) == len(entities)
    assert entities["heatmap"]["image_topic"] == TOPICS.heatmap
    assert entities["heatmap"]["content_type"] == "image/jpeg"
    assert entities["score"]["state_class"] == "measurement"
    assert entities["anomalous"]["device_class"] == entities["drift"]["device_class"] == "problem"
    assert entities["event"]["event_types"] == ["start", "update", "end"]
    assert json.loads(discovery_payload(TOPICS)) == document


def test_templates_read_keys_of_the_published_schemas():
    document = discovery_document(TOPICS)
    for entity in [*document["cmps"].values(), *document["availability"]]:
        topic = entity.get("state_topic") or entity.get("topic")
        if "value_template" not in entity:
            continue
        (key,) = set(re.findall(r"value_json\.(\w+)", entity["value_template"]))
        field = json_schemas()[split_topic(topic, TOPICS.prefix).kind]["properties"][key]
        if "payload_on" in entity:  # rendered as text, the numbers 1 and 0
            assert field["type"] == "integer"
    assert "event_type" in json_schemas()["event"]["required"]


@pytest.mark.train
def test_only_offline_is_not_available():
    from jinja2 import Environment

    (availability,) = discovery_document(TOPICS)["availability"]
    template = Environment().from_string(availability["value_template"])
    states = {
        state: template.render(value_json={"state": state}) for state in ("online", "building", "fault", "offline")
    }
    assert states == {"online": "online", "building": "online", "fault": "online", "offline": "offline"}


@given(st.lists(LEVEL, min_size=1, max_size=3), st.lists(LEVEL, min_size=1, max_size=3))
def test_ids_are_valid_and_different(one, other):
    topics, others = (Topics("/".join(["p", *levels]), "device") for levels in (one, other))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", discovery_id(topics))
    assert (discovery_id(topics) == discovery_id(others)) == (topics == others)


def test_ids_of_plain_names_are_readable():
    assert discovery_id(TOPICS) == "plant_line3_edge-occ_station-7_left"
    assert re.fullmatch(
        r"edge-occ_press_plant_local_[0-9a-f]{8}", discovery_id(Topics("edge-occ", "press.plant.local"))
    )


@pytest.mark.parametrize("prefix", ["", "a/#", "/homeassistant"])
def test_a_discovery_prefix_that_brokers_refuse(prefix):
    with pytest.raises(InputError, match="discovery prefix"):
        MqttConfig(discovery_prefix=prefix)


def test_it_is_published_on_every_connection_and_when_home_assistant_starts(own_broker, config):
    with Link(own_broker.port) as link, Ear(own_broker.port, "ha/#") as home:
        config = config.model_copy(update={"broker": link.url, "discovery": True, "discovery_prefix": "ha"})
        topic = discovery_topic(config.topics, "ha")

        def described(count):
            found = home.wait_for(
                lambda heard: sum(message.topic == topic for message in heard) >= count, f"description {count}"
            )
            return [message for message in found if message.topic == topic]

        with Publisher(config, render) as publisher:
            assert payloads(described(1)) == [discovery_document(config.topics)]
            link.cut()
            described(2)
            for count, word in ((2, b"offline"), (3, b"online"), (4, b"online")):
                home.send("ha/status", word)
                described(count)
            publisher.publish(inspection(0, 2.0, event=Phase.START))
        assert publisher.summary.published["event"] == 1
        assert len(described(4)) == 4  # none for offline
    with Ear(own_broker.port, "ha/device/#") as late:
        late.wait_for(lambda heard: len(heard) == 1, "the retained description")


def test_it_is_off_unless_set(config, broker):
    with Ear(broker.port, "homeassistant/#") as home:
        with Publisher(config, render), Ear(broker.port, f"{config.prefix}/{config.device}/#") as ear:
            ear.wait_for_kind("stats")
            home.send("homeassistant/status", b"online")
        heard = home.wait_for(lambda heard: len(heard) >= 1, "what was sent")
        assert [message.topic for message in heard] == ["homeassistant/status"]


@pytest.mark.parametrize("protocol", ["v5", "v3.1.1"])
def test_a_broker_that_denies_home_assistants_topics_costs_nothing_else(tmp_path, config, protocol):
    (tmp_path / "acl").write_text(f"topic readwrite {config.prefix}/#\n")
    (tmp_path / "acl").chmod(0o600)
    broker = Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"]).start()
    try:
        denied = config.model_copy(update={"broker": broker.url, "discovery": True, "protocol": protocol})
        with Publisher(denied, render) as publisher:
            publisher.publish(inspection(0, 2.0, event=Phase.START))
            wait_until(lambda: publisher.summary.published.get("event") == 1, "the event")
        assert publisher.lost_events == 0
    finally:
        broker.stop()


def test_the_documented_command_removes_it(own_broker, config):
    (command,) = re.findall(r"^mosquitto_pub .*$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    documented = discovery_topic(Topics("edge-occ", "station-7"), "homeassistant")
    assert documented in command
    config = config.model_copy(update={"broker": own_broker.url, "discovery": True})
    with Publisher(config, render), Ear(own_broker.port, "homeassistant/#") as home:
        home.wait_for(lambda heard: len(heard) == 1, "the description")
    topic = discovery_topic(config.topics, "homeassistant")
    typed = command.replace(documented, topic).replace("-h BROKER", f"-h 127.0.0.1 -p {own_broker.port}")
    subprocess.run(
        [tool("mosquitto_pub", "mosquitto-clients", optional=True), *typed.replace("'", "").split()[1:]], check=True
    )
    with Ear(own_broker.port, "homeassistant/#") as late:
        late.send("homeassistant/last", b"")
        assert [message.topic for message in late.wait_for(lambda heard: len(heard) == 1, "the last")] == [
            "homeassistant/last"
        ]

"""The published description of the messages, and the messages of real runs held against it."""

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from mqtt_helpers import Ear
from node import node_module

from edge_occ.mqtt.asyncapi import CHANNELS
from edge_occ.mqtt.jpeg import read_comment
from edge_occ.mqtt.payloads import PAYLOADS
from edge_occ.mqtt.schemas import json_schemas
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.station import Station

PUBLISHED = Path(__file__).parents[3] / "docs" / "schemas"


@pytest.fixture
def document():
    return json.loads((PUBLISHED / "asyncapi.json").read_text(encoding="utf-8"))


def references(part):
    if isinstance(part, dict):
        yield from [part["$ref"]] if "$ref" in part else []
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from references(item)


def resolve(document, reference):
    assert reference.startswith("#/")
    for key in reference[2:].split("/"):
        document = document[key]
    return document


def topic_pattern(channel):
    """A channel's address as a regular expression: one level a parameter, several in the prefix."""
    levels = {"prefix": r".+", "device": r"[^/]+", "camera": r"[^/]+"}
    return re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{levels[found[1]]})", channel["address"])


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        assert resolve(document, reference)


def test_every_kind_has_a_channel_with_and_without_a_camera(document):
    assert CHANNELS.keys() == PAYLOADS.keys() | {"snapshot", "command", "command/ack"}
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {
        f"{{prefix}}/{{device}}{camera}/{kind}" for camera in ("", "/{camera}") for kind in CHANNELS
    }  # fmt: skip
    for channel in document["channels"].values():
        assert set(channel["parameters"]) == set(re.findall(r"\{(\w+)\}", channel["address"]))
    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert used == {f"#/channels/{name}" for name in document["channels"]}


def test_the_document_is_what_asyncapi_calls_one(document):
    schema = node_module("@asyncapi/specs") / "schemas" / "3.0.0-without-$id.json"
    validator = Draft7Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(document)] == []
    document["channels"]["score"]["adress"] = "x"
    assert list(validator.iter_errors(document))


@pytest.mark.parametrize("cameras", [("",), ("left", "right")])
def test_a_run_sends_what_is_documented_and_nothing_else(cameras, broker, tiny_bundle, tiny_data, document):
    prefix = f"plant/{uuid4().hex[:8]}/edge-occ"
    mqtt = {"broker": broker.url, "prefix": prefix, "device": "press-1", "stats_seconds": 0.2}
    config = RunConfig.model_validate({"engine": {"name": "cpu"}, "mqtt": mqtt})
    sources = dict.fromkeys(cameras, f"{tiny_data / 'test' / 'spot'}")
    with Ear(broker.port, f"{prefix}/#") as ear:
        Station(config, tiny_bundle, sources).run(lambda _: None)
        ear.wait_for_state("offline", len(cameras))
        live = list(ear.heard)
    with Ear(broker.port, f"{prefix}/#") as late:
        retained = late.wait_for(lambda heard: len(heard) >= 3 * len(cameras), "what is retained")
    operations = {
        topic_pattern(resolve(document, operation["channel"]["$ref"])): operation
        for operation in document["operations"].values()
        if ("{camera}" in resolve(document, operation["channel"]["$ref"])["address"]) == bool(cameras[0])
    }
    kinds, kept = set(), set()
    for message in [*live, *retained]:
        (matched,) = ((found, operation) for pattern, operation in operations.items()
                      if (found := re.fullmatch(pattern, message.topic)))  # fmt: skip
        found, operation = matched
        kind = operation["messages"][0]["$ref"].rpartition("/")[2]
        payload = bytes(message.payload)
        content = json.loads(read_comment(payload) if CHANNELS[kind].content_type == "image/jpeg" else payload)
        # Every key of the schema, and none that it lacks: newer versions may add some, this one must not.
        schema = {**json_schemas()[kind], "additionalProperties": False}
        Draft202012Validator(schema, format_checker=FormatChecker()).validate(content)
        part = document["components"]["schemas"][PAYLOADS[kind].__name__]
        Draft7Validator({**part, "components": document["components"]}).validate(content)
        assert (content["device"], content["camera"]) == ("press-1", found.groupdict().get("camera", ""))
        assert (found["prefix"], found["device"]) == (prefix, "press-1")
        assert operation["bindings"]["mqtt"]["qos"] == message.qos
        kinds.add(kind)
        kept |= {kind} if message.retain else set()
    assert kinds == PAYLOADS.keys()
    assert kept == {kind for kind in PAYLOADS if CHANNELS[kind].retain}

"""The AsyncAPI 3 document of the messages, published as ``docs/schemas/asyncapi.json``."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic.json_schema import models_json_schema

from edge_occ import __version__
from edge_occ.mqtt.commands.answers import CommandAck
from edge_occ.mqtt.commands.requests import REQUESTS
from edge_occ.mqtt.payload_base import Message
from edge_occ.mqtt.payloads import PAYLOADS, SnapshotInfo
from edge_occ.mqtt.topics import COMMAND, COMMAND_ACK, EVENT, HEATMAP, SCORE, SNAPSHOT, STATS, STATUS

_BINDING = "0.2.0"
"""Version of AsyncAPI's MQTT bindings."""
_ADDRESSES = {"": "{prefix}/{device}", "camera": "{prefix}/{device}/{camera}"}
"""Beginning of a topic, by the beginning of its channel's name."""
_PARAMETERS = {
    "prefix": {
        "description": "First levels (mqtt.prefix); several levels such as plant/line3/edge-occ are allowed.",
        "default": "edge-occ",
    },
    "device": {"description": "One level (mqtt.device); by default the host name."},
    "camera": {"description": "One level (mqtt.camera), where the camera has a name."},
}


class Channel(NamedTuple):
    """Way in which the messages of one kind of topic are sent.

    Attributes:
        qos: quality of service.
        retain: whether the broker keeps the latest one.
        content_type: media type of the payload.
        summary: what they are.
        action: whether the inspector sends or receives them.
    """

    qos: int
    retain: bool
    content_type: str
    summary: str
    action: Literal["send", "receive"] = "send"


CHANNELS = {
    STATUS: Channel(1, True, "application/json", "State of the device, on every change; also the will."),
    SCORE: Channel(0, False, "application/json", "Score and verdict, one a frame; mqtt.score_hz limits normal frames."),
    EVENT: Channel(1, False, "application/json", "Start, new peak and end of an event; delivered at least once."),
    HEATMAP: Channel(
        0, True, "image/jpeg", "Frame with heatmap; its description is a JPEG comment and MQTT 5 user properties."
    ),
    STATS: Channel(0, True, "application/json", "Rates, losses and latencies, every mqtt.stats_seconds."),
    SNAPSHOT: Channel(
        0, True, "image/jpeg", "Frame that a command asked for; its description is a JPEG comment and user properties."
    ),
    COMMAND: Channel(1, False, "application/json", "Request, where mqtt.commands allows it.", "receive"),
    COMMAND_ACK: Channel(1, False, "application/json", "Answer to a request, with its id."),
}
"""The channel of each kind of topic."""

_MODELS: dict[str, type[Message]] = {**PAYLOADS, SNAPSHOT: SnapshotInfo, COMMAND_ACK: CommandAck}
_COMMANDS = "Command"
"""Name of the schema of all requests, each of which has one of its own."""
_SCHEMA = "#/components/schemas/{model}"


def asyncapi_document() -> dict[str, Any]:
    """Return the document, ready for JSON; the schemas are those of :func:`edge_occ.mqtt.schemas.json_schemas`."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "edge-occ",
            "version": __version__,
            "description": "Messages of edge-occ run, native profile, over MQTT 5 or 3.1.1; versions may add keys.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_channel(level, kind): _address(level, kind) for level in _ADDRESSES for kind in CHANNELS},
        "operations": {
            f"{CHANNELS[kind].action}_{_channel(level, kind)}": _operation(level, kind)
            for level in _ADDRESSES
            for kind in CHANNELS
        },
        "components": {
            "messages": {_name(kind): _message(kind) for kind in CHANNELS},
            "schemas": _schemas(),
            "parameters": _PARAMETERS,
        },
    }


def _channel(level: str, kind: str) -> str:
    return "_".join(filter(None, (level, _name(kind))))


def _name(kind: str) -> str:
    return kind.replace("/", "_")


def _schemas() -> dict[str, Any]:
    models = [(model, "serialization") for model in _MODELS.values()]
    _, sent = models_json_schema(models, ref_template=_SCHEMA)  # type: ignore[arg-type]
    received = REQUESTS.json_schema(ref_template=_SCHEMA)
    return {**sent["$defs"], **received["$defs"], _COMMANDS: {"oneOf": received["oneOf"]}}


def _address(level: str, kind: str) -> dict[str, Any]:
    beginning = _ADDRESSES[level]
    names = [name for name in _PARAMETERS if f"{{{name}}}" in beginning]
    return {
        "address": f"{beginning}/{kind}",
        "summary": CHANNELS[kind].summary,
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "messages": {_name(kind): {"$ref": f"#/components/messages/{_name(kind)}"}},
    }


def _operation(level: str, kind: str) -> dict[str, Any]:
    qos, retain, _, summary, action = CHANNELS[kind]
    channel = f"#/channels/{_channel(level, kind)}"
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{_name(kind)}"}],
        "bindings": {"mqtt": {"qos": qos, "retain": retain, "bindingVersion": _BINDING}},
    }


def _message(kind: str) -> dict[str, Any]:
    _, _, content_type, summary, _ = CHANNELS[kind]
    schema = {"$ref": _SCHEMA.format(model=_MODELS[kind].__name__ if kind in _MODELS else _COMMANDS)}
    message = {"name": kind, "summary": summary, "contentType": content_type}
    if content_type == "application/json":
        return {**message, "payload": schema}
    return {**message, "payload": {"type": "string", "format": "binary"}, "x-jpeg-comment": schema}

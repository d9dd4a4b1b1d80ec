"""Topics and payloads of other platforms, which take the place of the native score and event messages; pure."""

from __future__ import annotations

import json
from typing import Literal, NamedTuple

from edge_occ.mqtt.topics import EVENT, SCORE, Topics

ProfileName = Literal["native", "thingsboard", "umh"]


class Route(NamedTuple):
    """Way in which the messages of one kind are sent to a platform.

    Attributes:
        topic: with ``{location}`` for the levels of the native topic without its kind (``.`` becomes ``_``), and
            ``{key}``.
        keys: of the native payload that are sent.
        one_each: one message a key, ``{"timestamp_ms": ..., "value": ...}``; otherwise one for all,
            ``{"ts": ..., "values": {...}}``.
    """

    topic: str
    keys: tuple[str, ...]
    one_each: bool


_SCORE_KEYS = ("score", "p_value", "threshold", "anomalous", "latency_ms")
_EVENT_KEYS = ("event_type", "peak", "duration_s")
_THINGSBOARD, _UMH = "v1/devices/me/telemetry", "umh/v1/{location}/_raw/{key}"

PROFILES: dict[str, dict[str, Route]] = {
    "native": {},
    "thingsboard": {
        SCORE: Route(_THINGSBOARD, _SCORE_KEYS, one_each=False),
        EVENT: Route(_THINGSBOARD, (*_EVENT_KEYS, "historical"), one_each=False),
    },
    "umh": {SCORE: Route(_UMH, _SCORE_KEYS, one_each=True), EVENT: Route(_UMH, _EVENT_KEYS, one_each=True)},
}
"""Routes by profile and kind; a kind without one has its native topic and payload."""


def platform_messages(profile: ProfileName, topics: Topics, kind: str, payload: bytes) -> list[tuple[str, bytes]]:
    """Return topics and payloads to send for a native ``payload`` of a ``kind``, at least one."""
    route = PROFILES[profile].get(kind)
    if route is None:
        return [(topics.of(kind), payload)]
    content = json.loads(payload)
    if not route.one_each:
        return [(route.topic, _json({"ts": content["ts"], "values": {key: content[key] for key in route.keys}}))]
    return [
        (
            route.topic.format(location=topics.base.replace(".", "_"), key=key),
            _json({"timestamp_ms": content["ts"], "value": content[key]}),
        )
        for key in route.keys
    ]


def messages_of(profile: ProfileName, kind: str) -> int:
    """Return the number of messages that one native message of a ``kind`` becomes."""
    route = PROFILES[profile].get(kind)
    return len(route.keys) if route is not None and route.one_each else 1


def _json(content: object) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()

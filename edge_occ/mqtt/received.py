"""What a subscriber hears, typed, and a line of text for it; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from edge_occ.mqtt.jpeg import is_jpeg, read_comment
from edge_occ.mqtt.messages import PAYLOADS, DeviceStatus, Event, HeatmapInfo, Payload, Score, Stats
from edge_occ.mqtt.topics import HEATMAP, Place, split_topic

MAX_BYTES = 8 * 1024 * 1024
"""Bytes of the largest payload that is read."""


@dataclass(frozen=True)
class Received:
    """One message.

    Attributes:
        topic: where it was published.
        device, camera, kind: what the topic says; ``camera`` is ``None`` where it has no such level.
        message: the JSON; of a heatmap, what it says of itself.
        jpeg: the picture of a heatmap, ``None`` for anything else.
        received_at: local time of arrival, UTC.
        received_monotonic: the same on :func:`time.monotonic`, seconds.
        retained: kept by the broker from before the subscription: state, not news.
    """

    topic: str
    device: str
    camera: str | None
    kind: str
    message: Payload
    jpeg: bytes | None
    received_at: datetime
    received_monotonic: float
    retained: bool

    def to_json(self) -> str:
        """One line of JSON: topic, time of arrival, whether it was retained, payload."""
        line = {
            "topic": self.topic,
            "received_at": self.received_at.isoformat(),
            "retained": self.retained,
            "payload": self.message.model_dump(mode="json", by_alias=True),
        }
        return json.dumps(line)


def read_payload(topic: str, payload: bytes, prefix: str) -> tuple[Place, Payload]:
    """Place and message of what came on a topic.

    Raises:
        ValueError: another topic, too large a payload, or one that breaks its schema.
    """
    place = split_topic(topic, prefix)
    if place is None or place.kind not in PAYLOADS:
        raise ValueError("no topic of edge-occ")
    kind = place.kind
    if len(payload) > MAX_BYTES:
        raise ValueError(f"{len(payload)} bytes, more than {MAX_BYTES}")
    if kind == HEATMAP:
        if not is_jpeg(payload):
            raise ValueError("not a JPEG")
        payload = read_comment(payload) or b""
    try:
        return place, PAYLOADS[kind].model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or kind}: {first['msg']}") from None


def format_line(received: Received) -> str:
    """One line for a terminal; control characters from the network cannot reach it."""
    time_of_day = received.received_at.strftime("%H:%M:%S.%f")[:-3]
    mark = " (retained)" if received.retained else ""
    name = received.device if received.camera is None else f"{received.device}/{received.camera}"
    line = f"{time_of_day}Z  {name}  {received.kind:<7}  {_words(received)}{mark}"
    return "".join(character if character.isprintable() else "?" for character in line)


def _words(received: Received) -> str:
    message = received.message
    if isinstance(message, Score):
        told = f"score {message.score:.4g}  p {message.p_value:.3g}  {message.latency_ms:.1f} ms"
        return f"{_frame(message)}  {message.verdict.value:<9}  {told}"
    if isinstance(message, Event):
        old = "  historical" if message.historical else ""
        told = f"{message.phase.value:<6}  {message.id[:8]}  peak {message.peak:.4g}  frames {message.frames}"
        return f"{_frame(message)}  {told}  boxes {len(message.boxes)}{old}"
    if isinstance(message, HeatmapInfo):
        size = len(received.jpeg or b"") / 1024
        return f"{_frame(message)}  {message.verdict.value:<9}  score {message.score:.4g}  {size:.0f} KiB"
    if isinstance(message, Stats):
        lost = sum(queue.dropped for queue in (message.queues.score, message.queues.event, message.queues.heatmap))
        latency = "-" if message.latency_p95_ms is None else f"{message.latency_p95_ms:.1f} ms"
        return f"{message.fps:.1f} fps  frames {message.frames}  dropped {message.dropped}+{lost}  p95 {latency}"
    if isinstance(message, DeviceStatus):
        return message.state.value + (f"  {message.detail}" if message.detail else "")
    return ""


def _frame(message: Score | Event | HeatmapInfo) -> str:
    return f"frame {message.frame:06d}" + (f" {message.name}" if message.name else "")

"""Received messages: parsed, and as a line of text; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from edge_occ.mqtt.jpeg import is_jpeg, read_comment
from edge_occ.mqtt.payload_base import Message
from edge_occ.mqtt.payloads import PAYLOADS, DeviceStatus, Event, HeatmapInfo, Score
from edge_occ.mqtt.stats_payload import Stats
from edge_occ.mqtt.topics import HEATMAP, TopicParts, split_topic

MAX_BYTES = 8 * 1024 * 1024
"""Bytes of the largest payload that is parsed."""


@dataclass(frozen=True)
class Received:
    """One message.

    Attributes:
        topic: topic of the message.
        place, device, camera, kind: levels of the topic, see :class:`~edge_occ.mqtt.topics.TopicParts`.
        message: the parsed JSON; of a heatmap, its description.
        jpeg: the image of a heatmap, ``None`` for any other kind.
        received_at: time of arrival, UTC.
        received_monotonic: the same on :func:`time.monotonic`, seconds.
        retained: retained by the broker from before the subscription.
    """

    topic: str
    place: str
    device: str
    camera: str | None
    kind: str
    message: Message
    jpeg: bytes | None
    received_at: datetime
    received_monotonic: float
    retained: bool

    def to_json(self) -> str:
        """Return one line of JSON: topic, time of arrival, whether it was retained, payload."""
        line = {
            "topic": self.topic,
            "received_at": self.received_at.isoformat(),
            "retained": self.retained,
            "payload": self.message.model_dump(mode="json", by_alias=True),
        }
        return json.dumps(line)


def read_payload(topic: str, payload: bytes, prefix: str) -> tuple[TopicParts, Message]:
    """Parse the payload received on a topic; unknown keys, of newer versions, are ignored.

    Raises:
        ValueError: not a topic of edge-occ, a payload that is too large or does not match its schema.
    """
    parts = split_topic(topic, prefix)
    if parts is None or parts.kind not in PAYLOADS:
        raise ValueError("not a topic of edge-occ")
    kind = parts.kind
    if len(payload) > MAX_BYTES:
        raise ValueError(f"{len(payload)} bytes, more than {MAX_BYTES}")
    if kind == HEATMAP:
        if not is_jpeg(payload):
            raise ValueError("not a JPEG")
        payload = read_comment(payload) or b""
    try:
        return parts, PAYLOADS[kind].model_validate_json(payload)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or kind}: {first['msg']}") from None


def format_line(received: Received) -> str:
    """Return one line for a terminal; control characters from the network become question marks."""
    time_of_day = received.received_at.strftime("%H:%M:%S.%f")[:-3]
    mark = " (retained)" if received.retained else ""
    name = "/".join(filter(None, (received.place, received.device, received.camera)))
    line = f"{time_of_day}Z  {name}  {received.kind:<7}  {_text(received)}{mark}"
    return "".join(character if character.isprintable() else "?" for character in line)


def _text(received: Received) -> str:
    message = received.message
    if isinstance(message, Score):
        text = f"score {message.score:.4g}  p {message.p_value:.3g}  {message.latency_ms:.1f} ms"
        return f"{_frame(message)}  {message.verdict.value:<9}  {text}"
    if isinstance(message, Event):
        mark = "  historical" if message.historical else ""
        text = f"{message.phase.value:<6}  {message.id[:8]}  peak {message.peak:.4g}  frames {message.frames}"
        return f"{_frame(message)}  {text}  boxes {len(message.boxes)}{mark}"
    if isinstance(message, HeatmapInfo):
        size = len(received.jpeg or b"") / 1024
        return f"{_frame(message)}  {message.verdict.value:<9}  score {message.score:.4g}  {size:.0f} KiB"
    if isinstance(message, Stats):
        lost = sum(queue.dropped for queue in (message.queues.score, message.queues.event, message.queues.heatmap))
        latency = "-" if message.latency_p95_ms == 0 else f"{message.latency_p95_ms:.1f} ms"
        drift = f"  drift 10^{message.drift_log10:.1f}" if message.drift_alarm else ""
        return f"{message.fps:.1f} fps  frames {message.frames}  dropped {message.dropped}+{lost}  p95 {latency}{drift}"
    if isinstance(message, DeviceStatus):
        return message.state.value + (f"  {message.detail}" if message.detail else "")
    return ""


def _frame(message: Score | Event | HeatmapInfo) -> str:
    return f"frame {message.frame:06d}" + (f" {message.name}" if message.name else "")

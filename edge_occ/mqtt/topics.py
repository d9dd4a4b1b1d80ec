"""Names of the topics: ``<prefix>/<device>/<kind>``, or ``<prefix>/<device>/<camera>/<kind>``; pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

from edge_occ.common.errors import InputError

STATUS, SCORE, EVENT, HEATMAP, STATS = "status", "score", "event", "heatmap", "stats"
SNAPSHOT, COMMAND = "snapshot", "command"
"""Kinds of topics, the last level of each."""

COMMAND_ACK = "command/ack"
"""The last two levels of the topic of answers to commands."""

_MAX_NAME_BYTES = 512
"""Of a prefix or a device, UTF-8; the protocol allows 65,535 for a whole topic."""


class Origin(NamedTuple):
    """Device and camera that publish a message.

    Attributes:
        device: the device.
        camera: the camera, empty where the topic has no such level.
    """

    device: str = ""
    camera: str = ""


@dataclass(frozen=True)
class Topics:
    """The topics of one inspector.

    Attributes:
        prefix: one or more levels, such as ``plant/line3/edge-occ``; no wildcards, no empty level.
        device: exactly one level.
        camera: exactly one level, where several inspectors share the device; ``None`` omits the level.

    Raises:
        InputError: a name that is not a valid topic on every broker.
    """

    prefix: str = "edge-occ"
    device: str = "device"
    camera: str | None = None

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        check_device(self.device)
        if self.camera is not None:
            check_camera(self.camera)

    @property
    def base(self) -> str:
        """Common beginning of these topics; unique to one inspector."""
        return "/".join(level for level in (self.prefix, self.device, self.camera) if level is not None)

    @property
    def origin(self) -> Origin:
        """Device and camera as in the payloads."""
        return Origin(self.device, self.camera or "")

    def of(self, kind: str) -> str:
        """Return the topic of a kind."""
        return f"{self.base}/{kind}"

    @property
    def status(self) -> str:
        """Presence of the device: QoS 1, retained, also the will."""
        return self.of(STATUS)

    @property
    def score(self) -> str:
        """One message a frame: QoS 0."""
        return self.of(SCORE)

    @property
    def event(self) -> str:
        """Start, update and end of events: QoS 1."""
        return self.of(EVENT)

    @property
    def heatmap(self) -> str:
        """The latest overlay as JPEG: QoS 0, retained."""
        return self.of(HEATMAP)

    @property
    def stats(self) -> str:
        """Rates, drops and latencies: QoS 0, retained."""
        return self.of(STATS)

    @property
    def snapshot(self) -> str:
        """The frame that a command asked for, as JPEG: QoS 0, retained."""
        return self.of(SNAPSHOT)

    @property
    def command(self) -> str:
        """Requests to this inspector, which subscribes to it: QoS 1."""
        return self.of(COMMAND)

    @property
    def command_ack(self) -> str:
        """Answers to the requests: QoS 1."""
        return self.of(COMMAND_ACK)


def check_prefix(prefix: str) -> None:
    """Raise an :class:`InputError` unless ``prefix`` is one or more levels valid on every broker."""
    _check("an MQTT prefix such as plant/line3/edge-occ", prefix, "mqtt.prefix")


def check_prefix_filter(prefix: str) -> None:
    """Raise an :class:`InputError` unless ``prefix`` is one or more levels, each valid on every broker or ``+``."""
    plain = "/".join("x" if level == "+" else level for level in prefix.split("/"))
    _check(
        "an MQTT prefix such as plant/line3/edge-occ; subscribers may put + for a level", prefix, "mqtt.prefix", plain
    )


def check_device(device: str) -> None:
    """Raise an :class:`InputError` unless ``device`` is exactly one level valid on every broker."""
    _check_level("an MQTT device name of one level, such as station-1", device, "mqtt.device")


def check_camera(camera: str) -> None:
    """Raise an :class:`InputError` unless ``camera`` is exactly one level valid on every broker."""
    _check_level("an MQTT camera name of one level, such as left", camera, "mqtt.camera")


def check_discovery_prefix(prefix: str) -> None:
    """Raise an :class:`InputError` unless ``prefix`` is one or more levels valid on every broker."""
    _check("a discovery prefix such as homeassistant", prefix, "mqtt.discovery_prefix")


class TopicParts(NamedTuple):
    """The levels of a topic that its prefix leaves open, and those below.

    Attributes:
        place: the levels that ``+`` stands for, such as ``hamburg/line3``; empty where the prefix has no ``+``.
        device: the device.
        camera: the camera, ``None`` where the topic has no such level.
        kind: the last level.
    """

    place: str
    device: str
    camera: str | None
    kind: str


def split_topic(topic: str, prefix: str) -> TopicParts | None:
    """Split a topic under ``prefix``, where ``+`` stands for any level but an empty one.

    Returns:
        The parts; ``None`` if the topic has other levels, or another number of them.
    """
    wanted, levels = prefix.split("/"), topic.split("/")
    above, below = list(zip(wanted, levels, strict=False)), levels[len(wanted) :]
    if len(below) not in (2, 3) or not all(level if want == "+" else want == level for want, level in above):
        return None
    place = "/".join(level for want, level in above if want == "+")
    return TopicParts(place, below[0], below[1] if len(below) == 3 else None, below[-1])


def mqtt_string(text: str, max_bytes: int = 255) -> str:
    """Return ``text`` as a string that MQTT allows, at most ``max_bytes`` of UTF-8.

    MQTT forbids lone surrogates and U+0000; brokers may close the connection on other control characters and on
    non-characters (MQTT 5, 1.5.4), and mosquitto does.  Each of them becomes a question mark.
    """
    clean = "".join("?" if _forbidden(character) else character for character in text)
    return clean.encode()[:max_bytes].decode(errors="ignore")


def _forbidden(character: str) -> bool:
    code = ord(character)
    non_character = 0xFDD0 <= code <= 0xFDEF or code & 0xFFFE == 0xFFFE
    return non_character or unicodedata.category(character) in ("Cc", "Cs")


def _check_level(expected: str, name: str, field: str) -> None:
    if "/" in name:
        raise InputError(expected, f"{name[:80]!r}, which has several levels", "put the upper levels into mqtt.prefix")
    _check(expected, name, field)


def _check(expected: str, name: str, field: str, plain: str | None = None) -> None:
    """Raise unless ``plain``, by default ``name`` itself, is one or more levels of a topic."""
    found = _fault(name if plain is None else plain)
    if found is not None:
        raise InputError(expected, f"{name[:80]!r}, {found}", f"set {field} to letters, digits, '-' and '_'")


def _fault(name: str) -> str | None:
    """Return why a name is not one or more levels of a topic; ``None`` if it is.

    Brokers close the connection on control characters and non-characters, none of which is printable, and reserve names
    that begin with ``$``.
    """
    faults = (
        (not name, "which is empty"),
        (any(wildcard in name for wildcard in "+#"), "which has a wildcard, + or #"),
        (name.startswith("/") or name.endswith("/"), "which begins or ends with a slash"),
        ("//" in name, "which has an empty level"),
        (name.startswith("$"), "which begins with $, reserved for the broker"),
        (not name.isprintable(), "which has a character that cannot be printed"),
        (len(name.encode("utf-8", "replace")) > _MAX_NAME_BYTES, f"which is longer than {_MAX_NAME_BYTES} bytes"),
    )
    return next((words for wrong, words in faults if wrong), None)

"""Names of the topics: ``<prefix>/<device>/<kind>``; pure."""

from __future__ import annotations

from dataclasses import dataclass

from edge_occ.errors import InputError

STATUS, SCORE, EVENT, HEATMAP, STATS = "status", "score", "event", "heatmap", "stats"
"""Kinds of topics, the last level of each."""

_LONGEST = 512
"""Bytes of a prefix or a device, UTF-8; far below the 65,535 of the protocol, far above any plant's."""


@dataclass(frozen=True)
class Topics:
    """The topics of one device.

    Attributes:
        prefix: one or more levels, say ``plant/line3/edge-occ``; no wildcards, no empty level.
        device: exactly one level.

    Raises:
        InputError: a name that would not be one topic on every broker.
    """

    prefix: str = "edge-occ"
    device: str = "device"

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        check_device(self.device)

    def of(self, kind: str) -> str:
        """Topic of a kind."""
        return f"{self.prefix}/{self.device}/{kind}"

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


def check_prefix(prefix: str) -> None:
    """Raise an :class:`InputError` unless ``prefix`` is one or more levels that any broker takes."""
    _check("an MQTT prefix such as plant/line3/edge-occ", prefix, "mqtt.prefix")


def check_device(device: str) -> None:
    """Raise an :class:`InputError` unless ``device`` is exactly one level that any broker takes."""
    expected = "an MQTT device name of one level, such as camera-1"
    if "/" in device:
        raise InputError(expected, f"{device!r}, which has several levels", "put the upper levels into mqtt.prefix")
    _check(expected, device, "mqtt.device")


def split_topic(topic: str, prefix: str) -> tuple[str, str] | None:
    """Device and kind of a topic under ``prefix``, or ``None`` where it is not ``<prefix>/<device>/<kind>``."""
    if not topic.startswith(f"{prefix}/"):
        return None
    levels = topic[len(prefix) + 1 :].split("/")
    return (levels[0], levels[1]) if len(levels) == 2 else None


def _check(expected: str, name: str, field: str) -> None:
    found = _fault(name)
    if found is not None:
        raise InputError(expected, f"{name[:80]!r}, {found}", f"set {field} to letters, digits, '-' and '_'")


def _fault(name: str) -> str | None:
    """What keeps a name from being one or more levels of a topic.

    Brokers close the connection on control characters and non-characters, none of which can be printed, and keep names
    that begin with ``$`` to themselves.
    """
    faults = (
        (not name, "which is empty"),
        (any(wildcard in name for wildcard in "+#"), "which has a wildcard, + or #"),
        (name.startswith("/") or name.endswith("/"), "which begins or ends with a slash"),
        ("//" in name, "which has an empty level"),
        (name.startswith("$"), "which begins with $, as only a broker's own topics may"),
        (not name.isprintable(), "which has a character that cannot be printed"),
        (len(name.encode("utf-8", "replace")) > _LONGEST, f"which is longer than {_LONGEST} bytes"),
    )
    return next((words for wrong, words in faults if wrong), None)

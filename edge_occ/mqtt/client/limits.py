"""Capabilities of a broker: reported by it in MQTT 5, partly inferred from its behaviour; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

MAX_PACKET = 268_435_455
"""Bytes of the largest packet in MQTT."""
_OVERHEAD = 600
"""Bytes of a packet besides its topic and payload, at most: header and user properties."""
_RETAIN_NOT_SUPPORTED, _QOS_NOT_SUPPORTED = 0x9A, 0x9B
_MAX_FAILURES = 3
"""Connections that end during a heatmap before heatmaps are assumed to be the cause."""


@dataclass(frozen=True)
class BrokerLimits:
    """Capabilities of a broker.

    Attributes:
        retain: whether it keeps retained messages.
        qos: quality of service of messages that it confirms, 0 or 1.
        once: whether it takes each message once (QoS 2), also over lost connections, as it keeps the session.
        packet: bytes of its largest packet.
        in_flight: messages of QoS 1 and 2 that it accepts unconfirmed.
    """

    retain: bool = True
    qos: int = 1
    once: bool = False
    packet: int = MAX_PACKET
    in_flight: int = 0xFFFF

    def after_refusal(self, reason: ReasonCode) -> BrokerLimits:
        """Return what to ask for after a refused connection; the same if nothing else can be asked for."""
        if reason.value == _RETAIN_NOT_SUPPORTED:
            return replace(self, retain=False)
        if reason.value == _QOS_NOT_SUPPORTED:
            return replace(self, qos=0)
        return self

    def after_connack(self, properties: Properties | None, session_seconds: int = 0) -> BrokerLimits:
        """Return the capabilities in the properties of a CONNACK; MQTT 3.1.1 has none.

        Args:
            properties: of the CONNACK.
            session_seconds: how long the broker was asked to keep the session without a connection.
        """
        qos = min(self.qos, getattr(properties, "MaximumQoS", 1))
        highest, kept = (
            getattr(properties, name, default)
            for name, default in (("MaximumQoS", 2), ("SessionExpiryInterval", session_seconds))
        )
        return BrokerLimits(
            retain=self.retain and getattr(properties, "RetainAvailable", 1) == 1,
            qos=qos,
            once=qos > 0 and highest == 2 and kept > 0,
            packet=getattr(properties, "MaximumPacketSize", MAX_PACKET),
            in_flight=getattr(properties, "ReceiveMaximum", 0xFFFF),
        )

    def payload(self, topic: str) -> int:
        """Return the bytes of the largest payload on a topic."""
        return self.packet - _OVERHEAD - len(topic.encode())


class HeatmapLimit:
    """Size of the largest heatmap that a broker of MQTT 3.1.1 accepts: above it, the broker ends the connection.

    Attributes:
        max_bytes: bytes of the largest heatmap to send.
    """

    def __init__(self) -> None:
        self.max_bytes = MAX_PACKET
        self._failed: list[int] = []

    def succeeded(self) -> None:
        """Record that a heatmap arrived: earlier connections ended for another reason."""
        self._failed.clear()

    def failed(self, size: int) -> bool:
        """Record that a connection ended during a heatmap of ``size`` bytes; return whether that lowered the limit."""
        self._failed.append(size)
        if len(self._failed) < _MAX_FAILURES:
            return False
        self.max_bytes = min(self._failed) // 2
        self._failed.clear()
        return True

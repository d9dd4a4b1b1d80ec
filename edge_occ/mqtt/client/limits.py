"""What a broker can do and takes: told by it in MQTT 5, partly learned from its behaviour; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

LARGEST = 268_435_455
"""Bytes of the largest packet that MQTT has."""
_OVERHEAD = 600
"""Bytes of a packet that are neither its topic nor its payload, at most: header and user properties."""
_RETAIN_NOT_SUPPORTED, _QOS_NOT_SUPPORTED = 0x9A, 0x9B
_ENDS = 3
"""Connections that end under a picture before it is held to be their cause."""


@dataclass(frozen=True)
class BrokerLimits:
    """What a broker takes.

    Attributes:
        retain: whether it keeps messages.
        qos: highest quality of service that is used with it, 0 or 1.
        packet: bytes of its largest packet.
        in_flight: messages of QoS 1 that it takes before it has confirmed them.
    """

    retain: bool = True
    qos: int = 1
    packet: int = LARGEST
    in_flight: int = 0xFFFF

    def after_refusal(self, reason: ReasonCode) -> BrokerLimits:
        """What to ask for after a refused connection; the same if nothing else can be asked for."""
        if reason.value == _RETAIN_NOT_SUPPORTED:
            return replace(self, retain=False)
        if reason.value == _QOS_NOT_SUPPORTED:
            return replace(self, qos=0)
        return self

    def as_told(self, properties: Properties | None) -> BrokerLimits:
        """What the answer to an accepted connection says; MQTT 3.1.1 says nothing."""
        return BrokerLimits(
            retain=self.retain and getattr(properties, "RetainAvailable", 1) == 1,
            qos=min(self.qos, getattr(properties, "MaximumQoS", 1)),
            packet=getattr(properties, "MaximumPacketSize", LARGEST),
            in_flight=getattr(properties, "ReceiveMaximum", 0xFFFF),
        )

    def payload(self, topic: str) -> int:
        """Bytes of the largest payload on a topic."""
        return self.packet - _OVERHEAD - len(topic.encode())


class HeatmapLimit:
    """The largest picture that a broker of MQTT 3.1.1 takes, which it cannot tell: it ends the connection.

    Attributes:
        most: bytes of the largest picture to try.
    """

    def __init__(self) -> None:
        self.most = LARGEST
        self._ended: list[int] = []

    def taken(self) -> None:
        """A picture was taken: earlier ends had another cause."""
        self._ended.clear()

    def ended(self, size: int) -> bool:
        """A connection ended while a picture of ``size`` bytes was on its way; gives whether the limit fell by that."""
        self._ended.append(size)
        if len(self._ended) < _ENDS:
            return False
        self.most = min(self._ended) // 2
        self._ended.clear()
        return True

"""Delivery of messages that were handed to the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from paho.mqtt.client import MQTTMessageInfo
from paho.mqtt.enums import MQTTErrorCode


class DeliveryOutcome(Enum):
    """Result of a delivery."""

    TAKEN = "taken"
    """The broker has the message."""
    REFUSED = "refused"
    """The broker answered with a refusal."""
    UNKNOWN = "unknown"
    """The connection ended before an answer; the broker may have the message."""


class Receipt(Protocol):
    """Tracks what was handed over."""

    def outcome(self, session: int) -> DeliveryOutcome | None:
        """Return the outcome, given the number of the present connection; ``None`` while the answer is pending."""

    @property
    def reason(self) -> str:
        """Reason of a refusal; empty without one."""


@dataclass
class Fences:
    """Fences of one connection; written in the network thread, read in any.

    Attributes:
        session: number of the connection.
        asked, answered: fences sent and answered.
    """

    session: int = 0
    asked: int = 0
    answered: int = 0


@dataclass(frozen=True)
class FenceReceipt:
    """Tracks all messages before a fence.

    Attributes:
        fences: of its connection.
        number: of the fence.
    """

    fences: Fences
    number: int
    reason: str = ""

    def outcome(self, session: int) -> DeliveryOutcome | None:
        """Return whether the fence was answered; unknown once its connection has ended."""
        if self.fences.answered >= self.number:
            return DeliveryOutcome.TAKEN
        return DeliveryOutcome.UNKNOWN if self.fences.session != session else None


@dataclass
class BrokerSession:
    """A session as MQTT means it: the broker may keep it over connections, and with it what it has received.

    Written in the network thread, read in any.

    Attributes:
        refused: reasons by the ids of the refused messages.
        ended: whether the broker has forgotten it.
    """

    refused: dict[int, str] = field(default_factory=dict)
    ended: bool = False


@dataclass(frozen=True)
class MessageReceipt:
    """Tracks a message of QoS 1 or 2.

    Attributes:
        session: in which it was sent, and is sent again after a new connection.
        info: of the message.
    """

    session: BrokerSession
    info: MQTTMessageInfo

    def __post_init__(self) -> None:
        if self.info.rc is MQTTErrorCode.MQTT_ERR_NO_CONN:
            # paho has queued it nevertheless, but would never report its delivery.
            self.info.rc = MQTTErrorCode.MQTT_ERR_SUCCESS

    @property
    def reason(self) -> str:
        """Reason of a refusal; empty without one."""
        return self.session.refused.get(self.info.mid, "")

    def outcome(self, session: int) -> DeliveryOutcome | None:  # noqa: ARG002 - of the protocol
        """Return the broker's answer; unknown if the session has ended before."""
        if delivery(self.info) is True:
            return DeliveryOutcome.REFUSED if self.reason else DeliveryOutcome.TAKEN
        return DeliveryOutcome.UNKNOWN if self.session.ended else None


class Deliveries:
    """The receipts of one client; a new connection begins in its network thread, which also passes on the answers."""

    def __init__(self) -> None:
        self._fences, self._session = Fences(), BrokerSession()

    def connected(self, number: int, *, resumed: bool) -> None:
        """Begin a connection; unless the session is ``resumed``, what is not confirmed is lost, or has arrived."""
        self._fences = Fences(number)
        if not resumed:
            self._session.ended = True
            self._session = BrokerSession()

    def fence(self) -> FenceReceipt:
        """Return the receipt of a fence that is sent now."""
        self._fences.asked += 1
        return FenceReceipt(self._fences, self._fences.asked)

    def message(self, info: MQTTMessageInfo) -> MessageReceipt:
        """Return the receipt of a message of QoS 1 or 2 that was handed over."""
        return MessageReceipt(self._session, info)

    def fence_answered(self) -> None:
        """Take the answer to the oldest fence without one."""
        self._fences.answered += 1

    def refused(self, message_id: int, reason: str) -> None:
        """Take a refusal."""
        self._session.refused[message_id] = reason


def delivery(info: MQTTMessageInfo, timeout: float = 0.0) -> bool | None:
    """Return whether a message was sent (QoS 0) or confirmed: ``False`` if it is lost, ``None`` while pending.

    Waits up to ``timeout`` seconds.
    """
    try:
        if timeout > 0:
            info.wait_for_publish(timeout)
        return info.is_published() or None
    except (RuntimeError, ValueError):  # in paho: not connected, connection lost, queue full
        return False

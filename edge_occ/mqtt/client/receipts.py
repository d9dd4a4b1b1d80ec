"""Delivery of messages that were handed to the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from paho.mqtt.client import MQTTMessageInfo


class DeliveryOutcome(Enum):
    """Result of a delivery."""

    TAKEN = "taken"
    """The broker has the message."""
    REFUSED = "refused"
    """The broker answered with a refusal."""
    UNKNOWN = "unknown"
    """The connection ended before an answer; the broker may have the message."""


@dataclass
class Answers:
    """Answers of a broker in one connection; written in the network thread, read in any.

    Attributes:
        session: number of the connection.
        asked, answered: fences sent and answered.
        refused: reasons by the ids of the refused messages.
    """

    session: int = 0
    asked: int = 0
    answered: int = 0
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """Tracks a message, or all messages before a fence.

    Attributes:
        answers: of its connection.
        info: the message, if it has QoS 1; ``None`` for a fence.
        fence: number of the fence.
    """

    answers: Answers
    info: MQTTMessageInfo | None = None
    fence: int = 0

    def outcome(self, session: int) -> DeliveryOutcome | None:
        """Return the outcome, given the present ``session``; ``None`` while the answer is pending."""
        answered = self.answers.answered >= self.fence if self.info is None else delivery(self.info) is True
        if answered:
            return DeliveryOutcome.REFUSED if self.reason else DeliveryOutcome.TAKEN
        return DeliveryOutcome.UNKNOWN if self.answers.session != session else None

    @property
    def reason(self) -> str:
        """Reason of a refusal; empty without one."""
        return "" if self.info is None else self.answers.refused.get(self.info.mid, "")


def delivery(info: MQTTMessageInfo, timeout: float = 0.0) -> bool | None:
    """Return whether a message was sent (QoS 0) or confirmed (QoS 1): ``False`` if it is lost, ``None`` while pending.

    Waits up to ``timeout`` seconds.
    """
    try:
        if timeout > 0:
            info.wait_for_publish(timeout)
        return info.is_published() or None
    except (RuntimeError, ValueError):  # in paho: not connected, connection lost, queue full
        return False

"""What becomes of a message that was given to the client."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from paho.mqtt.client import MQTTMessageInfo


class DeliveryOutcome(Enum):
    """What became of a message."""

    TAKEN = "taken"
    """The broker has it."""
    REFUSED = "refused"
    """The broker has answered that it does not take it."""
    UNKNOWN = "unknown"
    """The connection ended before an answer; the broker may have it."""


@dataclass
class Answers:
    """What a broker has answered in one connection; written in the network thread, read in any.

    Attributes:
        session: number of the connection.
        asked, answered: fences sent and answered.
        refused: reasons by the ids of the messages that the broker does not take.
    """

    session: int = 0
    asked: int = 0
    answered: int = 0
    refused: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Receipt:
    """Follows a message, or all messages before a fence.

    Attributes:
        answers: of the connection that it was given to.
        info: the message, if it has QoS 1; ``None`` for a fence.
        fence: number of the fence.
    """

    answers: Answers
    info: MQTTMessageInfo | None = None
    fence: int = 0

    def outcome(self, session: int) -> DeliveryOutcome | None:
        """What became of it, given the present ``session``; ``None`` if the answer has not come yet."""
        taken = self.answers.answered >= self.fence if self.info is None else delivery(self.info) is True
        if taken:
            return DeliveryOutcome.REFUSED if self.reason else DeliveryOutcome.TAKEN
        return DeliveryOutcome.UNKNOWN if self.answers.session != session else None

    @property
    def reason(self) -> str:
        """Why the broker does not take it; empty if it does."""
        return "" if self.info is None else self.answers.refused.get(self.info.mid, "")


def delivery(info: MQTTMessageInfo, timeout: float = 0.0) -> bool | None:
    """Whether a message has left (QoS 0) or was confirmed (QoS 1); ``False`` if it is lost, ``None`` if neither yet."""
    try:
        if timeout > 0:
            info.wait_for_publish(timeout)
        return info.is_published() or None
    except (RuntimeError, ValueError):  # paho's words for: not connected, connection lost, queue full
        return False

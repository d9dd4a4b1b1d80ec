"""What goes wrong with a connection, in the log: each cause once, or once a minute, with what to do."""

from __future__ import annotations

import logging

from edge_occ.mqtt.broker import Broker
from edge_occ.mqtt.client.limits import BrokerLimits
from edge_occ.mqtt.throttle import Throttle

_log = logging.getLogger(__name__)

TAKEN_OVER, CLOSED = "Session taken over", "Unspecified error"
"""Names of reasons: another client with the same id; for paho also a connection that the other side just closed."""


class ConnectionLog:
    """Logs what a broker does to a client.

    Args:
        broker: named in every line.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._throttle = Throttle(_log)

    def lost(self, reason: str) -> None:
        """The connection ended."""
        words = "closed by the broker or the network" if reason == CLOSED else reason
        self._throttle.warning("lost", "connection to %s lost: %s; reconnecting", self._broker, words)

    def thrown_out(self, client_id: str, *, sure: bool) -> None:
        """Another client with the same id was let in instead, for sure or as far as can be guessed."""
        cause = "another client with the id %s has taken over the connection to %s"
        if not sure:
            cause = (
                "another client with the id %s seems to take over the connection to %s, which is closed again and again"
            )
            cause += " soon after its beginning (or it refuses a topic or the size of a message)"
        self._throttle.warning(
            "thrown out",
            f"{cause}; give each inspector topics of its own: --set mqtt.camera=NAME for cameras of one device, or "
            "--set mqtt.device=NAME",
            client_id,
            self._broker,
        )

    def not_taken_back(self, reason: str) -> None:
        """The broker refuses a connection that it once accepted."""
        self._throttle.warning("back", "%s does not take this client back: %s", self._broker, reason)

    def limits(self, limits: BrokerLimits) -> None:
        """The broker lacks something that an inspector uses."""
        if not limits.retain:
            self._throttle.once(
                "retain",
                "%s keeps no retained messages: status, heatmap and stats reach only who listens at that moment",
                self._broker,
            )
        if limits.qos == 0:
            self._throttle.once("qos", "%s has QoS 0 only: status and events are sent with it", self._broker)

    def refused(self, topic: str, reason: str) -> None:
        """The broker takes no message on a topic."""
        advice = "the broker's log says more"
        if reason == "Not authorized":
            advice = "allow this client to publish there in the broker's access control list, or set mqtt.prefix"
        self._throttle.once(
            f"refused {topic}", "%s refuses messages on %s: %s; %s", self._broker, topic, reason, advice
        )

    def deaf(self, topic: str, reason: str) -> None:
        """The broker refuses a subscription."""
        self._throttle.once(
            f"deaf {topic}", "%s does not let this client subscribe to %s: %s", self._broker, topic, reason
        )

    def too_large(self, topic: str, size: int, most: int) -> None:
        """A message is larger than the broker or the settings allow."""
        self._throttle.warning(
            f"too large {topic}",
            "a message of %d bytes on %s is left out: at most %d are allowed (mqtt.max_payload, the broker's limit)",
            size,
            topic,
            most,
        )

    def picture_limit(self, most: int) -> None:
        """Pictures of some size seem to end the connection."""
        self._throttle.warning(
            "picture limit",
            "the connection to %s ended under each of the last heatmaps: those above %d bytes are left out from now "
            "on; raise the broker's limit on packets, or set mqtt.max_payload",
            self._broker,
            most,
        )

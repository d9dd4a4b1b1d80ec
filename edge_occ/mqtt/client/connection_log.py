"""Log of connection problems: each kind once, or once a minute, with advice."""

from __future__ import annotations

import logging

from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.mqtt.broker import Broker
from edge_occ.mqtt.client.failures import Failure
from edge_occ.mqtt.client.limits import BrokerLimits

_log = logging.getLogger(__name__)

TAKEN_OVER, CLOSED = "Session taken over", "Unspecified error"
"""Names of reasons: another client with the same id; in paho also a connection closed without a reason."""


class ConnectionLog:
    """Logs problems of one client with its broker.

    Args:
        broker: named in every line.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._warn = RateLimitedLog(_log.warning, max_messages=1)

    def connected(self, *, v5: bool, again: bool) -> None:
        """Log a connection."""
        words = " again" if again else ""
        _log.info("connected to %s with MQTT %s%s", self._broker, "5" if v5 else "3.1.1", words)

    def absent(self, failure: Failure) -> None:
        """Log that there is no first connection yet; once for each cause."""
        self._warn.once(
            f"absent {failure.found}",
            "no MQTT broker at %s: %s; inspecting without it, events wait until it answers; %s",
            self._broker,
            failure.found,
            failure.advice,
        )

    def lost(self, reason: str) -> None:
        """Log the end of a connection."""
        words = "closed by the broker or the network" if reason == CLOSED else reason
        self._warn("lost", "connection to %s lost: %s; reconnecting", self._broker, words)

    def taken_over(self, client_id: str, *, certain: bool) -> None:
        """Log that another client with the same id replaced this one, for certain or probably."""
        cause = f"another client with the id {client_id} has taken over the connection to {self._broker}"
        if not certain:
            cause = (
                f"the connection to {self._broker} is closed repeatedly, soon after its start: probably another client "
                f"with the id {client_id} takes it over, or the broker rejects a topic or the size of a message"
            )
        advice = "give each inspector its own topics: --set mqtt.camera=NAME for cameras of one device, or"
        ids = "and its own mqtt.client_id where that is set"
        self._warn("taken over", "%s; %s --set mqtt.device=NAME; %s", cause, advice, ids)

    def reconnect_refused(self, reason: str) -> None:
        """Log that the broker refuses a client that it once accepted."""
        self._warn("refused", "%s refuses this client's reconnection: %s", self._broker, reason)

    def limits(self, limits: BrokerLimits, *, once: bool) -> None:
        """Log what the broker lacks, of what is wanted: ``once``, messages that it takes once."""
        if not limits.retain:
            self._warn.once(
                "retain",
                "%s keeps no retained messages: status, heatmap and stats reach only current subscribers",
                self._broker,
            )
        if limits.qos == 0:
            self._warn.once("qos", "%s has QoS 0 only: status and events are sent with it", self._broker)
        elif once and not limits.once:
            self._warn.once("once", "%s has no QoS 2 or keeps no session: events may arrive twice", self._broker)

    def refused(self, topic: str, reason: str) -> None:
        """Log that the broker refuses messages on a topic."""
        advice = "see the broker's log"
        if reason == "Not authorized":
            advice = "allow this client to publish there in the broker's access control list, or set mqtt.prefix"
        self._warn.once(f"refused {topic}", "%s refuses messages on %s: %s; %s", self._broker, topic, reason, advice)

    def subscription_refused(self, topic: str, reason: str) -> None:
        """Log that the broker refuses a subscription."""
        self._warn.once(f"subscription {topic}", "%s refuses the subscription to %s: %s", self._broker, topic, reason)

    def too_large(self, topic: str, size: int, limit: int) -> None:
        """Log that a message is larger than the broker or the settings allow."""
        self._warn(
            f"too large {topic}",
            "a message of %d bytes on %s is not sent: the limit is %d (mqtt.max_payload, or the broker's)",
            size,
            topic,
            limit,
        )

    def heatmap_limit(self, limit: int) -> None:
        """Log that heatmaps above ``limit`` bytes are no longer sent, as they seem to end the connection."""
        self._warn(
            "heatmap limit",
            "the connection to %s ended during each of the last heatmaps: those above %d bytes are no longer sent; "
            "raise the broker's limit on packets, or set mqtt.max_payload",
            self._broker,
            limit,
        )

"""Messages on their way to paho's client, each within the connection that it was made for."""

from __future__ import annotations

import threading

from paho.mqtt.client import Client

from edge_occ.mqtt.client import paho_client
from edge_occ.mqtt.client.limits import MAX_PACKET, BrokerLimits
from edge_occ.mqtt.client.receipts import Deliveries, Receipt


class Outgoing:
    """Hands messages to a client, in one connection or not at all; a :class:`Connection` sets the client.

    Args:
        fence_topic: a topic that is never subscribed, for fences; empty for a client without them.
        max_payload: bytes of the largest payload that the settings allow; ``None`` for no limit.

    Attributes:
        session: number of the current connection, from 1; 0 without one.
        v5: whether the protocol in use is MQTT 5.
        limits: capabilities of the broker.
        lost_sessions: how often a new connection found no session of the one before.
    """

    def __init__(self, fence_topic: str, max_payload: int | None) -> None:
        self.session = 0
        self.v5 = False
        self.limits = BrokerLimits()
        self.lost_sessions = 0
        self._fence_topic, self._max_payload = fence_topic, max_payload or MAX_PACKET
        self._client: Client | None = None
        self._deliveries = Deliveries()
        # Held while a message is handed to paho and while paho's queue is emptied: none slips in behind the emptying.
        self._handover = threading.Lock()

    def max_payload(self, topic: str) -> int:
        """Return the bytes of the largest payload on ``topic`` that the broker and the settings allow."""
        return min(self.limits.payload(topic), self._max_payload)

    def publish(
        self,
        session: int,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        user_properties: dict[str, str] | None = None,
    ) -> bool:
        """Hand a message of QoS 0 to the client unless the connection is no longer ``session``; never blocks.

        ``user_properties`` are sent with MQTT 5 only.  Returns whether it was handed over; a fence behind it confirms
        that it arrived.
        """
        properties = paho_client.publish_properties(user_properties) if user_properties and self.v5 else None
        with self._handover:
            client = self._client_of(session)
            if client is not None:
                client.publish(topic, payload, 0, retain and self.limits.retain, properties)
            return client is not None

    def fence(self, session: int) -> Receipt | None:
        """Request a confirmation of all that was handed over before; ``None`` without that session."""
        with self._handover:
            client = self._client_of(session)
            if client is None or not self._fence_topic:
                return None
            receipt = self._deliveries.fence()
            client.unsubscribe(self._fence_topic)
            return receipt

    def publish_confirmed(self, session: int, topic: str, payload: bytes, *, once: bool = False) -> Receipt | None:
        """Hand over a message that the broker confirms: with QoS 1, or with QoS 0 and a fence where it has no QoS 1.

        ``once`` asks for QoS 2 where the broker keeps the session: then the receipt outlasts the connection.
        """
        if self.limits.qos == 0:
            return self.fence(session) if self.publish(session, topic, payload) else None
        with self._handover:
            client = self._client_of(session)
            if client is None:
                return None
            return self._deliveries.message(client.publish(topic, payload, 2 if once and self.limits.once else 1))

    def _client_of(self, session: int) -> Client | None:
        """Return the client if its connection is ``session``; to be called with the lock held."""
        return self._client if session and session == self.session else None

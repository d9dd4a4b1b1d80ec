"""The subscription of a client: requested on every connection, and what the broker answers."""

from __future__ import annotations

import threading

from paho.mqtt.client import Client
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_occ.mqtt.client.connection_log import ConnectionLog
from edge_occ.mqtt.client.failures import Failure, from_subscription
from edge_occ.mqtt.client.paho_client import V5, Subscription


class Subscriber:
    """Subscribes a client; without a subscription it does nothing.

    Args:
        subscription: topics and receiver, ``None`` for a client that only publishes.
        log: log of connection problems.

    Attributes:
        failure: why the broker refused every topic of a required subscription, if it did.
    """

    def __init__(self, subscription: Subscription | None, log: ConnectionLog) -> None:
        self.failure: Failure | None = None
        self._subscription, self._log = subscription, log
        self._answered = threading.Event()

    def attach(self, client: Client) -> None:
        """Set the callbacks of a new client."""
        client.on_subscribe = self._on_subscribe
        if self._subscription is not None:
            on_message = self._subscription.on_message
            client.on_message = lambda _client, _data, message: on_message(message)

    def subscribe(self, client: Client) -> None:
        """Request the subscription, on a connection that has just begun."""
        if self._subscription is None:
            return
        if self._subscription.as_published and client.protocol is V5:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            client.subscribe([(topic, options) for topic in self._subscription.filters])
        else:
            client.subscribe([(topic, 1) for topic in self._subscription.filters])

    def wait(self, timeout: float) -> bool:
        """Return whether the broker has answered within ``timeout`` seconds; at once where it need not."""
        return self._subscription is None or not self._subscription.required or self._answered.wait(timeout)

    def _on_subscribe(self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _: object) -> None:
        filters = () if self._subscription is None else self._subscription.filters
        required = self._subscription is not None and self._subscription.required
        refused = {topic: str(reason) for topic, reason in zip(filters, reasons, strict=False) if reason.is_failure}
        for topic, reason in refused.items():
            self._log.subscription_refused(topic, reason)
        if required and refused and len(refused) == len(filters):
            self.failure = from_subscription(next(iter(refused.values())), list(refused))
        self._answered.set()

"""Presence of a device on its status topic: birth, announcements, will and clean end."""

from __future__ import annotations

import time

from paho.mqtt.client import Client

from edge_occ.mqtt.client.limits import BrokerLimits
from edge_occ.mqtt.client.receipts import delivery
from edge_occ.mqtt.payloads import DeviceState, DeviceStatus
from edge_occ.mqtt.topics import Origin


class Presence:
    """Publishes the device's state, retained; without a topic it does nothing.

    Args:
        topic: status topic, ``None`` for a client without presence.
        origin: device and camera.
    """

    def __init__(self, topic: str | None, origin: Origin) -> None:
        self.topic = topic
        self._origin = origin
        self._state = DeviceState.ONLINE
        self._detail: str | None = None
        self._message_id = 0
        self._resent: set[int] = set()
        self._unconfirmed: set[int] = set()

    def set(self, state: DeviceState, detail: str | None) -> None:
        """Set the state for :meth:`publish`."""
        DeviceStatus(state=state, detail=detail)  # raises where it is not valid, before anything changes
        self._state, self._detail = state, detail

    def set_will(self, client: Client, limits: BrokerLimits) -> None:
        """Set the will of the next connection."""
        if self.topic is not None:
            client.will_set(self.topic, self._payload(DeviceState.OFFLINE), limits.qos, limits.retain)

    def publish(self, client: Client, limits: BrokerLimits) -> None:
        """Publish the current state."""
        if self.topic is not None:
            info = client.publish(self.topic, self._payload(self._state, self._detail), limits.qos, limits.retain)
            self._message_id = info.mid
            self._unconfirmed.add(info.mid)

    def connected(self, *, resumed: bool) -> None:
        """Take note of a new connection; in a session that is ``resumed``, paho sends what is not confirmed again."""
        self._resent, self._unconfirmed = (self._unconfirmed if resumed else set()), set()

    def confirmed(self, message_id: int) -> bool:
        """Take note of an answer; return whether it was to an earlier state, which the broker now has as the latest."""
        self._unconfirmed.discard(message_id)
        stale = message_id in self._resent
        self._resent.discard(message_id)
        return stale

    def publish_offline(self, client: Client, limits: BrokerLimits, timeout: float) -> bool:
        """Publish ``offline`` and return whether it was delivered within ``timeout`` seconds."""
        if self.topic is None:
            return True
        info = client.publish(self.topic, self._payload(DeviceState.OFFLINE), limits.qos, limits.retain)
        return delivery(info, timeout) is True

    def owns(self, message_id: int) -> bool:
        """Return whether a message id is that of the latest status message."""
        return self.topic is not None and message_id == self._message_id

    def _payload(self, state: DeviceState, detail: str | None = None) -> bytes:
        now = round(time.time() * 1000)
        return DeviceStatus(**self._origin._asdict(), ts=now, state=state, detail=detail).to_json()

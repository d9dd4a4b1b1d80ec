"""One client of one broker: MQTT 5 or 3.1.1, presence, reconnection by paho.

Behaviour of paho-mqtt 2.2 that this module relies on:

- Its network thread reconnects endlessly.  Callbacks run in it, some of them under paho's own locks, so ``on_activity``
  and ``_on_disconnect`` take no lock that a publishing thread holds inside paho.
- A QoS 1 message given to a disconnected client is sent unchanged after reconnection.  An event must then be marked as
  historical, so the client's queue is emptied before it reconnects and the event store keeps its own copy.
- Messages of QoS 0 are not confirmed, and a socket buffers megabytes of them.  A *fence* behind them confirms them: a
  request without effect, to unsubscribe from a topic that was never subscribed.  A broker handles the packets of a
  connection in order, so its answer means that it has what was sent before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_occ.mqtt.broker import credentials, parse_broker, tls_context
from edge_occ.mqtt.client import paho_client
from edge_occ.mqtt.client.connection_log import ConnectionLog
from edge_occ.mqtt.client.first_connection import FirstConnection
from edge_occ.mqtt.client.handshake import Handshake
from edge_occ.mqtt.client.limits import MAX_PACKET, BrokerLimits
from edge_occ.mqtt.client.presence import Presence
from edge_occ.mqtt.client.receipts import Answers, Receipt
from edge_occ.mqtt.client.subscriber import Subscriber
from edge_occ.mqtt.client.takeover import TakeoverDetector
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payloads import DeviceState


class Connection:
    """A client that stays connected.

    Args:
        config: broker, protocol, certificates, keep-alive.
        client_id: the same for every run of an inspector, different for every inspector.
        status_topic: topic of presence, retained: a birth on every connection, a will, and ``offline`` before a clean
            end.  ``None`` for a client without presence.
        subscription: subscribed on every connection.
        births: further messages by topic, published retained on every connection, with QoS 0.
        on_activity: called in the network thread when a connection begins or ends, or a message was sent or confirmed;
            must return at once and take no lock that is held while publishing.

    Attributes:
        session: number of the current connection, from 1; 0 without one.
        v5: whether the protocol in use is MQTT 5.
        limits: capabilities of the broker.
        last_end: reason for the end of the last connection, in paho's words.
        log: log of connection problems.

    Raises:
        InputError: the broker's address, credentials or certificates cannot be used.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        *,
        status_topic: str | None = None,
        subscription: paho_client.Subscription | None = None,
        births: Mapping[str, bytes] = MappingProxyType({}),
        on_activity: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = 0
        self.v5 = False
        self.limits = BrokerLimits()
        self.last_end = ""
        self._broker = parse_broker(config.broker)
        self.log = ConnectionLog(self._broker)
        self._tls = tls_context(self._broker, config.ca, config.cert, config.key)
        self._credentials = credentials()
        self._config, self._client_id = config, client_id
        self._presence = Presence(status_topic, config.topics.origin)
        self._subscriber = Subscriber(subscription, self.log)
        self._births = births
        self._on_activity = on_activity
        self._client: Client | None = None
        self._answers = Answers()
        self._sessions = 0
        self._takeover = TakeoverDetector(client_id, self.log)
        self._handshake = Handshake(
            config,
            self._broker,
            self._tls,
            self._new_client,
            lambda: self.limits,
            partial(paho_client.connect_properties, subscription=subscription),
        )
        self._first = FirstConnection(self._handshake, self._subscriber, self._broker, self.log, client_id)
        self._ended = threading.Event()
        # Held while a message is handed to paho and while paho's queue is emptied: none slips in behind the emptying.
        self._handover = threading.Lock()

    def connect(self, timeout: float, *, required: bool = True) -> None:
        """Connect for the first time; from then on, reconnections are automatic.

        Unless ``required``, a broker out of reach is logged and tried again without end; this returns after the first
        attempt, at the latest after ``timeout`` seconds.

        Raises:
            InputError: the broker did not accept this client within ``timeout`` seconds; unless ``required``, only if
                it answers that it does not, or its certificate cannot be verified.
        """
        try:
            (self._first.connect if required else self._first.start)(timeout)
        except BaseException:
            self.close(0.0)
            raise

    def max_payload(self, topic: str) -> int:
        """Return the bytes of the largest payload on ``topic`` that the broker and the settings allow."""
        return min(self.limits.payload(topic), self._config.max_payload or MAX_PACKET)

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
            if client is None or self._presence.topic is None:
                return None
            self._answers.asked += 1
            client.unsubscribe(self._presence.topic)
            return Receipt(self._answers, fence=self._answers.asked)

    def publish_confirmed(self, session: int, topic: str, payload: bytes) -> Receipt | None:
        """Hand over a message that the broker confirms: with QoS 1, or with QoS 0 and a fence where it has no QoS 1."""
        if self.limits.qos == 0:
            return self.fence(session) if self.publish(session, topic, payload) else None
        with self._handover:
            client = self._client_of(session)
            return None if client is None else Receipt(self._answers, client.publish(topic, payload, 1))

    def announce(self, state: DeviceState, detail: str | None = None) -> None:
        """Publish the device's state, now if connected, and after every reconnection."""
        with self._handover:
            self._presence.set(state, detail)
            if self._client is not None and self.session:
                self._presence.publish(self._client, self.limits)

    def publish_births(self) -> None:
        """Publish the births again; may be called in the network thread."""
        session = self.session
        for topic, payload in self._births.items():
            if len(payload) > (limit := self.max_payload(topic)):  # the broker would close the connection
                self.log.too_large(topic, len(payload), limit)
            else:
                self.publish(session, topic, payload, retain=True)

    def close(self, timeout: float) -> None:
        """Publish ``offline`` and disconnect; if that is not delivered within ``timeout`` seconds, the will follows.

        During an attempt to reconnect, its timeout (5 s) comes on top.
        """
        self._first.stop()
        client, deadline = self._client, time.monotonic() + timeout
        if client is None:
            return
        delivered = not self.session or self._presence.publish_offline(client, self.limits, timeout)
        with self._handover:
            self._client, connected, self.session = None, self.session > 0, 0
        if connected and delivered:
            client.disconnect()
            self._ended.wait(max(deadline - time.monotonic(), 0.0))
        paho_client.stop_client(client)

    def _client_of(self, session: int) -> Client | None:
        """Return the client if its connection is ``session``; to be called with the lock held."""
        return self._client if session and session == self.session else None

    def _new_client(self, protocol: MQTTProtocolVersion) -> Client:
        client = paho_client.make_client(self._client_id, protocol, self._credentials, self._tls)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_unsubscribe = self._on_unsubscribe
        self._subscriber.attach(client)
        self._client, self.v5 = client, protocol is paho_client.V5
        return client

    def _on_pre_connect(self, client: Client, _data: object) -> None:
        with self._handover:
            client.drop_out_messages()
        self._presence.set_will(client, self.limits)

    def _on_connect(
        self, client: Client, _data: object, _flags: object, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.limits = self.limits.after_refusal(reason)
            self._handshake.refused(str(reason), self._client_id)
            if self._sessions:
                self.log.reconnect_refused(str(reason))
            return
        with self._handover:
            if client is not self._client or self._first.stopped:  # closed meanwhile
                client.disconnect()
                return
            client.reconnect_delay_set(*self._takeover.connected(time.monotonic()))
            self.limits = self.limits.after_connack(properties)
            self._sessions += 1
            self._answers = Answers(self._sessions)
            self._presence.publish(client, self.limits)
            self._subscriber.subscribe(client)
            self.log.connected(v5=self.v5, again=self._sessions > 1)
            self._ended.clear()
            self.session = self._sessions
        self.publish_births()
        if self._presence.topic is not None:
            self.log.limits(self.limits)
        self._on_activity()

    def _on_disconnect(self, client: Client, _data: object, _flags: object, reason: ReasonCode, _: object) -> None:
        if self.session:
            self.last_end = str(reason)
            client.reconnect_delay_set(*self._takeover.disconnected(self.last_end, time.monotonic()))
        elif reason.is_failure:
            self._handshake.closed()
        self.session = 0
        self._ended.set()
        self._on_activity()

    def _on_publish(self, _client: Client, _data: object, mid: int, reason: ReasonCode, _: object) -> None:
        if reason.is_failure:
            self._answers.refused[mid] = str(reason)
            if self._presence.topic is not None and self._presence.owns(mid):
                self.log.refused(self._presence.topic, str(reason))
        self._on_activity()

    def _on_unsubscribe(self, *_: object) -> None:
        self._answers.answered += 1
        self._on_activity()

"""One client of one broker: MQTT 5 or 3.1.1, presence, reconnection by paho.

Behaviour of paho-mqtt 2.2 that this module relies on:

- Its network thread reconnects endlessly.  Callbacks run in it, some of them under paho's own locks, so ``on_activity``
  and ``_on_disconnect`` take no lock that a publishing thread holds inside paho.
- After a reconnection it sends messages of QoS 1 and 2 that are not confirmed again, unchanged.  Where the broker has
  kept the session, it takes those of QoS 2 once.  Otherwise they may arrive twice, and an event must then be marked as
  historical: the client's queue is emptied before it sends it, and the event store has its own copy.
- Its message ids begin anew in each process, so the first connection must not resume a session of an earlier one.
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

from paho.mqtt.client import Client, ConnectFlags
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_occ.mqtt.broker import credentials, parse_broker
from edge_occ.mqtt.client import paho_client
from edge_occ.mqtt.client.connection_log import ConnectionLog
from edge_occ.mqtt.client.first_connection import FirstConnection
from edge_occ.mqtt.client.handshake import Handshake
from edge_occ.mqtt.client.outgoing import Outgoing
from edge_occ.mqtt.client.presence import Presence
from edge_occ.mqtt.client.subscriber import Subscriber
from edge_occ.mqtt.client.takeover import TakeoverDetector
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.mqtt.tls import tls_context
from edge_occ.mqtt.topics import Origin

_NOT_FOUND = 0x92
"""The answer of a broker that has released a message of QoS 2 already, to the same request after a lost connection."""


class Connection(Outgoing):
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
        super().__init__(status_topic or "", config.max_payload)
        self.last_end = ""
        self._broker = parse_broker(config.broker)
        self.log = ConnectionLog(self._broker)
        self._tls = tls_context(self._broker, config.tls_files)
        self._credentials = credentials()
        self._config, self._client_id = config, client_id
        self._presence = Presence(status_topic, Origin() if status_topic is None else config.topics.origin)
        self._subscriber = Subscriber(subscription, self.log)
        self._births = births
        self._on_activity = on_activity
        # Other clients than devices have another name in each process, and would leave their sessions behind.
        self._session_seconds = 0 if status_topic is None else config.session_expiry
        self._sessions = 0
        self._takeover = TakeoverDetector(client_id, self.log)
        self._handshake = Handshake(
            config,
            self._broker,
            self._tls,
            self._new_client,
            lambda: self.limits,
            partial(paho_client.connect_properties, subscription=subscription, session_seconds=self._session_seconds),
        )
        self._first = FirstConnection(self._handshake, self._subscriber, self._broker, self.log, client_id)
        self._ended = threading.Event()

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
        self._presence.set_will(client, self.limits)

    def _on_connect(
        self, client: Client, _data: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.limits = self.limits.after_refusal(reason)
            self._handshake.refused(str(reason), self._client_id)
            if self._sessions:
                self.log.reconnect_refused(str(reason))
            return
        if flags.session_present and not self._sessions:
            self._handshake.found_session()
            client.disconnect()
            return
        with self._handover:
            if client is not self._client or self._first.stopped:  # closed meanwhile
                client.disconnect()
                return
            client.reconnect_delay_set(*self._takeover.connected(time.monotonic()))
            self.limits = self.limits.after_connack(properties, self._session_seconds if self.v5 else 0)
            resumed = self._config.once and flags.session_present and self.limits.once
            if not resumed:
                client.drop_out_messages()
            self._presence.connected(resumed=resumed)
            self._sessions += 1
            self._deliveries.connected(self._sessions, resumed=resumed)
            # After the receipts have their outcome: what was confirmed comes before what was not.
            if self._sessions > 1 and not flags.session_present:
                self.lost_sessions += 1
            self._presence.publish(client, self.limits)
            self._subscriber.subscribe(client)
            self.log.connected(v5=self.v5, again=self._sessions > 1)
            self._ended.clear()
            self.session = self._sessions
        self.publish_births()
        if self._presence.topic is not None:
            self.log.limits(self.limits, once=self._config.once)
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

    def _on_publish(self, client: Client, _data: object, mid: int, reason: ReasonCode, _: object) -> None:
        if reason.is_failure and reason.value != _NOT_FOUND:
            self._deliveries.refused(mid, str(reason))
            if self._presence.topic is not None and self._presence.owns(mid):
                self.log.refused(self._presence.topic, str(reason))
        # Without the lock: paho holds its own here, for which a publishing thread would wait.
        if self._presence.confirmed(mid):
            self._presence.publish(client, self.limits)
        self._on_activity()

    def _on_unsubscribe(self, *_: object) -> None:
        self._deliveries.fence_answered()
        self._on_activity()

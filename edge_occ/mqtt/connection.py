"""One client of one broker: MQTT 5 or 3.1.1, presence by will and birth, reconnection left to paho.

What paho-mqtt 2.2 does, and what follows from it here:

- Its network thread reconnects for ever.  Callbacks run in it, some of them under paho's own locks, so ``on_activity``
  and ``_on_disconnect`` wait for no lock that a publishing thread holds inside paho.
- A QoS 1 message given to a disconnected client is sent after reconnection, as it was.  One that should then say that
  it is old must not stay there: the client is emptied before it reconnects, the publisher keeps its own.
- A CONNECT of MQTT 5 leaves some 3.1.1 brokers silent, waiting for more (amqtt), and makes others hang up.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_occ.mqtt.broker import credentials, parse_broker, tls_context
from edge_occ.mqtt.client import V5, V311, Subscription, connect_properties, delivery, make_client, user_properties
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.handshake import HUNG_UP, NO_RIGHTS, attempt, refusal
from edge_occ.mqtt.messages import State, Status

_log = logging.getLogger(__name__)

_PROTOCOLS = {"auto": (V5, V311), "v5": (V5,), "v3.1.1": (V311,)}
_PATIENCE = 2.0
"""Seconds a broker may stay silent to MQTT 5 before 3.1.1 is tried."""
_LARGEST = 268_435_455
_OFFLINE = Status(state=State.OFFLINE).to_json()


class Connection:
    """A client that stays connected.

    Args:
        config: broker, protocol, certificates, keep-alive.
        client_id: the same for every run of a device, different for every device.
        status_topic: where presence is told, retained: a birth on every connection, a will, and ``offline`` before a
            clean end.  ``None`` for a client without presence.
        subscription: subscribed on every connection.
        on_activity: called in the network thread when a connection begins or ends, or a message has left or was
            confirmed; must return at once and take no lock that is held while publishing.

    Attributes:
        session: number of the current connection, from 1; 0 without one.
        v5: whether the protocol in use is MQTT 5.
        most_payload: bytes of the largest payload the broker takes.

    Raises:
        InputError: the broker's address, credentials or certificates cannot be used.
    """

    def __init__(
        self,
        config: MqttConfig,
        client_id: str,
        *,
        status_topic: str | None = None,
        subscription: Subscription | None = None,
        on_activity: Callable[[], None] = lambda: None,
    ) -> None:
        self.session = 0
        self.v5 = False
        self.most_payload = _LARGEST
        self._broker = parse_broker(config.broker)
        self._tls = tls_context(self._broker, config.ca, config.cert, config.key)
        self._credentials = credentials()
        self._config, self._client_id = config, client_id
        self._status_topic, self._subscription, self._on_activity = status_topic, subscription, on_activity
        self._status = Status(state=State.ONLINE).to_json()
        self._client: Client | None = None
        self._sessions = 0
        self._refused = ""
        self._ended, self._subscribed = threading.Event(), threading.Event()
        # Held while a message is handed to paho and while paho is emptied: none slips in behind the emptying.
        self._handover = threading.Lock()

    def connect(self, timeout: float) -> None:
        """Connect for the first time; from then on, reconnections are automatic.

        Raises:
            InputError: no broker there, or it did not accept this client within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        accepted = self._try_protocols(deadline)
        if accepted and self._client is not None:
            self._client.loop_start()
            accepted = self._subscription is None or self._subscribed.wait(deadline - time.monotonic())
        if not accepted or self._refused:
            self.close(0.0)
            raise refusal(self._broker, self._refused or f"no answer to MQTT within {timeout:g} s")
        _log.info("connected to %s with MQTT %s", self._broker, "5" if self.v5 else "3.1.1")

    def publish(
        self,
        session: int,
        topic: str,
        payload: bytes,
        *,
        qos: int = 0,
        retain: bool = False,
        tags: dict[str, str] | None = None,
    ) -> MQTTMessageInfo | None:
        """Hand a message to the client unless the connection is no longer ``session``; never blocks.

        ``tags`` become user properties, with MQTT 5 only.  Returns what :func:`~edge_occ.mqtt.client.delivery` follows,
        ``None`` if the message was not handed over.
        """
        properties = user_properties(tags) if tags and self.v5 else None
        with self._handover:
            if self._client is None or session == 0 or session != self.session:
                return None
            return self._client.publish(topic, payload, qos, retain, properties)

    def announce(self, state: State, detail: str | None = None) -> None:
        """Tell what the device is doing, now if connected, and after every reconnection."""
        with self._handover:
            self._status = Status(state=state, detail=detail).to_json()
            if self._client is not None and self.session and self._status_topic is not None:
                self._client.publish(self._status_topic, self._status, qos=1, retain=True)

    def close(self, timeout: float) -> None:
        """Say ``offline`` and disconnect; what the broker does not take within ``timeout`` seconds is left to the will.

        Where the network is being tried again at that moment, one attempt to connect (5 s) comes on top.
        """
        client, deadline = self._client, time.monotonic() + timeout
        if client is None:
            return
        said = True
        if self.session and self._status_topic is not None:
            said = delivery(client.publish(self._status_topic, _OFFLINE, qos=1, retain=True), timeout) is True
        with self._handover:
            self._client, connected, self.session = None, self.session > 0, 0
        if connected and said:
            client.disconnect()
            self._ended.wait(max(deadline - time.monotonic(), 0.0))
        sock = client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        client.disconnect()
        with contextlib.suppress(AttributeError):  # paho forgets an ended thread, even between its check and its join
            client.loop_stop()
        client.disconnect()  # for a connection that came about in the last moment of the thread

    def _try_protocols(self, deadline: float) -> bool:
        protocols = _PROTOCOLS[self._config.protocol]
        for protocol in protocols:
            left = max(deadline - time.monotonic(), 0.0)
            patience = left if protocol is protocols[-1] else min(_PATIENCE, left / 2)
            properties = connect_properties(protocol, self._subscription)
            self._client, self.v5, self._refused = self._new_client(protocol), protocol is V5, ""
            if attempt(self._client, self._broker, self._config.keepalive, patience, properties):
                return True
            if self._refused in NO_RIGHTS:
                break
        return False

    def _new_client(self, protocol: MQTTProtocolVersion) -> Client:
        will = None if self._status_topic is None else (self._status_topic, _OFFLINE)
        client = make_client(self._client_id, protocol, self._credentials, self._tls, will)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        if self._subscription is not None:
            hear = self._subscription.on_message
            client.on_message = lambda _client, _data, message: hear(message)
        return client

    def _on_pre_connect(self, client: Client, _data: object) -> None:
        with self._handover:
            client.drop_out_messages()

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refused = str(reason)
            if self._sessions:
                _log.warning("%s does not take this device back: %s", self._broker, reason)
            return
        with self._handover:
            if client is not self._client:  # closed meanwhile
                client.disconnect()
                return
            self.most_payload = getattr(properties, "MaximumPacketSize", _LARGEST) - 1024  # for topic and properties
            if self._status_topic is not None:
                client.publish(self._status_topic, self._status, qos=1, retain=True)
            if self._subscription is not None:
                client.subscribe([(topic, 1) for topic in self._subscription.filters])
            if self._sessions:
                _log.info("connected to %s again", self._broker)
            self._sessions += 1
            self._ended.clear()
            self.session = self._sessions
        self._on_activity()

    def _on_disconnect(
        self,
        _client: Client,
        _data: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self.session:
            _log.warning("connection to %s lost: %s; reconnecting", self._broker, reason)
        elif reason.is_failure and not self._refused:
            self._refused = HUNG_UP
        self.session = 0
        self._ended.set()
        self._on_activity()

    def _on_publish(
        self, _client: Client, _data: object, _mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        if reason.is_failure:
            _log.warning("%s did not take a message: %s", self._broker, reason)
        self._on_activity()

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: Properties
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            _log.warning("%s does not let this client subscribe: %s", self._broker, refused[0])
            self._refused = refused[0]
        self._subscribed.set()

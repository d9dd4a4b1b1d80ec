"""One client of one broker: MQTT 5 or 3.1.1, presence by will and birth, reconnection left to paho.

What paho-mqtt 2.2 does, and what follows from it here:

- Its network thread reconnects for ever.  Callbacks run in it, some of them under paho's own locks, so ``on_activity``
  and ``_on_disconnect`` wait for no lock that a publishing thread holds inside paho.
- A QoS 1 message given to a disconnected client is sent after reconnection, as it was.  One that should then say that
  it is old must not stay there: the client is emptied before it reconnects, the publisher keeps its own.
- Messages of QoS 0 are confirmed by nobody, and a socket takes megabytes of them.  A *fence* behind them does it: a
  request that changes nothing, to unsubscribe from a topic that was never subscribed.  A broker takes the packets of a
  connection in their order, so the answer says that it has what was sent before.
- A CONNECT of MQTT 5 leaves some 3.1.1 brokers silent, waiting for more (amqtt), and makes others hang up.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_occ.mqtt.broker import credentials, parse_broker, tls_context
from edge_occ.mqtt.client.connection_log import ConnectionLog
from edge_occ.mqtt.client.failures import (
    Failure,
    from_closed_connection,
    from_error,
    from_late_alert,
    from_reason_code,
    from_subscription,
    from_timeout,
    refusal,
)
from edge_occ.mqtt.client.handshake import attempt
from edge_occ.mqtt.client.limits import LARGEST, BrokerLimits
from edge_occ.mqtt.client.paho_client import V5, V311, Subscription, connect_properties, make_client, user_properties
from edge_occ.mqtt.client.receipts import Answers, Receipt, delivery
from edge_occ.mqtt.client.takeover import TakeoverDetector
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.messages import DeviceState, DeviceStatus

_log = logging.getLogger(__name__)

_PROTOCOLS = {"auto": (V5, V311), "v5": (V5,), "v3.1.1": (V311,)}
_PATIENCE = 2.0
"""Seconds a broker may stay silent to MQTT 5 before 3.1.1 is tried."""
_OF_VERSION = ("Unsupported protocol version", "Malformed packet", "Protocol error", "Unspecified error")
"""Refusals that another protocol version may mend; any other is final."""
_OFFLINE = DeviceStatus(state=DeviceState.OFFLINE).to_json()


class Connection:
    """A client that stays connected.

    Args:
        config: broker, protocol, certificates, keep-alive.
        client_id: the same for every run of an inspector, different for every inspector.
        status_topic: where presence is told, retained: a birth on every connection, a will, and ``offline`` before a
            clean end.  ``None`` for a client without presence.
        subscription: subscribed on every connection.
        on_activity: called in the network thread when a connection begins or ends, or a message has left or was
            confirmed; must return at once and take no lock that is held while publishing.

    Attributes:
        session: number of the current connection, from 1; 0 without one.
        v5: whether the protocol in use is MQTT 5.
        limits: what the broker takes.
        last_end: why the last connection ended, in the words of paho.
        complaints: where what goes wrong is logged.

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
        self.limits = BrokerLimits()
        self.last_end = ""
        self._broker = parse_broker(config.broker)
        self.complaints = ConnectionLog(self._broker)
        self._tls = tls_context(self._broker, config.ca, config.cert, config.key)
        self._credentials = credentials()
        self._config, self._client_id = config, client_id
        self._status_topic, self._subscription, self._on_activity = status_topic, subscription, on_activity
        self._status = DeviceStatus(state=DeviceState.ONLINE).to_json()
        self._status_id = 0
        self._client: Client | None = None
        self._answers = Answers()
        self._sessions = 0
        self._endings = TakeoverDetector(client_id, self.complaints)
        self._cause: Failure | None = None
        self._hung_up = False
        self._final = False
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
        if not accepted or self._cause is not None:
            self.close(0.0)
            raise refusal(self._broker, self._cause or from_timeout(timeout))
        _log.info("connected to %s with MQTT %s", self._broker, "5" if self.v5 else "3.1.1")

    def max_payload(self, topic: str) -> int:
        """Bytes of the largest payload on ``topic`` that the broker and the settings allow."""
        return min(self.limits.payload(topic), self._config.max_payload or LARGEST)

    def publish(
        self,
        session: int,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        tags: dict[str, str] | None = None,
    ) -> bool:
        """Hand a message of QoS 0 to the client unless the connection is no longer ``session``; never blocks.

        ``tags`` become user properties, with MQTT 5 only.  Gives whether it was handed over; a fence behind it tells
        whether it arrived.
        """
        properties = user_properties(tags) if tags and self.v5 else None
        with self._handover:
            client = self._of(session)
            if client is not None:
                client.publish(topic, payload, 0, retain and self.limits.retain, properties)
            return client is not None

    def fence(self, session: int) -> Receipt | None:
        """Ask for a sign that the broker has all that was handed over before; ``None`` without that session."""
        with self._handover:
            client = self._of(session)
            if client is None or self._status_topic is None:
                return None
            self._answers.asked += 1
            client.unsubscribe(self._status_topic)
            return Receipt(self._answers, fence=self._answers.asked)

    def publish_confirmed(self, session: int, topic: str, payload: bytes) -> Receipt | None:
        """Hand over a message that the broker confirms: with QoS 1, or with QoS 0 and a fence where it has no QoS 1."""
        if self.limits.qos == 0:
            return self.fence(session) if self.publish(session, topic, payload) else None
        with self._handover:
            client = self._of(session)
            return None if client is None else Receipt(self._answers, client.publish(topic, payload, 1))

    def announce(self, state: DeviceState, detail: str | None = None) -> None:
        """Tell what the device is doing, now if connected, and after every reconnection."""
        with self._handover:
            self._status = DeviceStatus(state=state, detail=detail).to_json()
            if self._client is not None and self.session:
                self._tell_status(self._client)

    def close(self, timeout: float) -> None:
        """Say ``offline`` and disconnect; what the broker does not take within ``timeout`` seconds is left to the will.

        Where the network is being tried again at that moment, one attempt to connect (5 s) comes on top.
        """
        client, deadline = self._client, time.monotonic() + timeout
        if client is None:
            return
        said = True
        if self.session and self._status_topic is not None:
            info = client.publish(self._status_topic, _OFFLINE, self.limits.qos, self.limits.retain)
            said = delivery(info, timeout) is True
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

    def _of(self, session: int) -> Client | None:
        """The client, if its connection is ``session``; to be called with the lock held."""
        return self._client if session and session == self.session else None

    def _try_protocols(self, deadline: float) -> bool:
        protocols = _PROTOCOLS[self._config.protocol]
        for protocol in protocols:
            self.v5 = protocol is V5
            asked = None
            while asked != self.limits:  # a broker may take a client that asks for less
                asked, self._cause, self._hung_up = self.limits, None, False
                left = max(deadline - time.monotonic(), 0.0)
                patience = left if protocol is protocols[-1] else min(_PATIENCE, left / 2)
                if self._attempt(protocol, patience):
                    return True
            if self._final:
                break
        return False

    def _attempt(self, protocol: MQTTProtocolVersion, patience: float) -> bool:
        properties = connect_properties(protocol, self._subscription)
        self._client = self._new_client(protocol)
        try:
            accepted = attempt(self._client, self._broker, self._config.keepalive, patience, properties)
        except OSError as error:
            self._cause, self._final = from_error(error, self._config, self._broker), True
            return False
        if self._hung_up and self._tls is not None:
            alert = from_late_alert(self._config, self._broker, self._tls)
            self._cause, self._final = alert or self._cause, alert is not None
        return accepted

    def _new_client(self, protocol: MQTTProtocolVersion) -> Client:
        client = make_client(self._client_id, protocol, self._credentials, self._tls)
        self._set_will(client)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_unsubscribe = self._on_unsubscribe
        if self._subscription is not None:
            hear = self._subscription.on_message
            client.on_message = lambda _client, _data, message: hear(message)
        return client

    def _set_will(self, client: Client) -> None:
        if self._status_topic is not None:
            client.will_set(self._status_topic, _OFFLINE, self.limits.qos, self.limits.retain)

    def _tell_status(self, client: Client) -> None:
        if self._status_topic is not None:
            info = client.publish(self._status_topic, self._status, self.limits.qos, self.limits.retain)
            self._status_id = info.mid

    def _on_pre_connect(self, client: Client, _data: object) -> None:
        with self._handover:
            client.drop_out_messages()

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refused(client, reason)
            return
        with self._handover:
            if client is not self._client:  # closed meanwhile
                client.disconnect()
                return
            client.reconnect_delay_set(*self._endings.begun(time.monotonic()))
            self.limits = self.limits.as_told(properties)
            self._sessions += 1
            self._answers = Answers(self._sessions)
            self._tell_status(client)
            if self._subscription is not None:
                client.subscribe([(topic, 1) for topic in self._subscription.filters])
            if self._sessions > 1:
                _log.info("connected to %s again", self._broker)
            self._ended.clear()
            self.session = self._sessions
        if self._status_topic is not None:
            self.complaints.limits(self.limits)
        self._on_activity()

    def _refused(self, client: Client, reason: ReasonCode) -> None:
        self.limits = self.limits.after_refusal(reason)
        self._set_will(client)
        self._cause, self._final = from_reason_code(str(reason), self._client_id), str(reason) not in _OF_VERSION
        if self._sessions:
            self.complaints.not_taken_back(str(reason))

    def _on_disconnect(
        self,
        client: Client,
        _data: object,
        _flags: DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self.session:
            self.last_end = str(reason)
            client.reconnect_delay_set(*self._endings.ended(self.last_end, time.monotonic()))
        elif reason.is_failure and self._cause is None:
            self._cause, self._hung_up = from_closed_connection(self._config, self._broker), True
        self.session = 0
        self._ended.set()
        self._on_activity()

    def _on_publish(
        self, _client: Client, _data: object, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        if reason.is_failure:
            self._answers.refused[mid] = str(reason)
            if mid == self._status_id and self._status_topic is not None:
                self.complaints.refused(self._status_topic, str(reason))
        self._on_activity()

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: Properties
    ) -> None:
        filters = () if self._subscription is None else self._subscription.filters
        refused = {topic: str(reason) for topic, reason in zip(filters, reasons, strict=False) if reason.is_failure}
        for topic, reason in refused.items():
            self.complaints.deaf(topic, reason)
        if refused and len(refused) == len(filters):
            self._cause = from_subscription(next(iter(refused.values())), list(refused))
        self._subscribed.set()

    def _on_unsubscribe(
        self, _client: Client, _data: object, _mid: int, _reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        self._answers.answered += 1
        self._on_activity()

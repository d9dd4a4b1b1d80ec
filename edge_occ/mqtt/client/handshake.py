"""The first connection: protocol versions are tried until the broker accepts the client.

paho's own loop would reconnect endlessly and report nothing, so it starts only after that.
"""

from __future__ import annotations

import select
import ssl
import threading
import time
from collections.abc import Callable
from typing import Literal

from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, Client
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.properties import Properties

from edge_occ.mqtt.broker import Broker
from edge_occ.mqtt.client.failures import (
    Failure,
    from_closed_connection,
    from_error,
    from_late_alert,
    from_reason_code,
)
from edge_occ.mqtt.client.limits import BrokerLimits
from edge_occ.mqtt.client.paho_client import V5, V311
from edge_occ.mqtt.config import MqttConfig

_PROTOCOLS = {"auto": (V5, V311), "v5": (V5,), "v3.1.1": (V311,)}
_FALLBACK_SECONDS = 2.0
"""Silence of a broker after a CONNECT of MQTT 5 before 3.1.1 is tried: amqtt waits for more."""
_POLL_SECONDS = 0.5
_VERSION_REASONS = ("Unsupported protocol version", "Malformed packet", "Protocol error", "Unspecified error")
"""Refusals that another protocol version may avoid; any other is final."""


class Handshake:
    """Connects for the first time; the client's callbacks report refusals and closed connections to it.

    Args:
        config: protocol, certificates, keep-alive.
        broker: address.
        tls: context of an encrypted connection.
        new_client: makes a client of a version.
        limits: what is asked of the broker; a refusal may lower it.
        properties: of the CONNECT packet of a version.

    Attributes:
        failure: why the last attempt failed, if that is known.
        stopped: set to end an attempt early, within half a second unless the network blocks it.
    """

    def __init__(
        self,
        config: MqttConfig,
        broker: Broker,
        tls: ssl.SSLContext | None,
        new_client: Callable[[MQTTProtocolVersion], Client],
        limits: Callable[[], BrokerLimits],
        properties: Callable[[MQTTProtocolVersion], Properties | None],
    ) -> None:
        self.failure: Failure | None = None
        self.stopped = threading.Event()
        self._config, self._broker, self._tls = config, broker, tls
        self._new_client, self._limits, self._properties = new_client, limits, properties
        self._closed_by_peer = self._final = False
        # mosquitto 2.0 writes a session to its file only if the client has not asked for a new one.
        self._clean: bool | Literal[3] = False if config.session_expiry else MQTT_CLEAN_START_FIRST_ONLY

    def run(self, deadline: float) -> Client | None:
        """Try the protocol versions in turn.

        Args:
            deadline: end of the last attempt on :func:`time.monotonic`, seconds.

        Returns:
            The accepted client, whose loop is not running; ``None`` without one.
        """
        self._final = False
        protocols = _PROTOCOLS[self._config.protocol]
        for protocol in protocols:
            asked = None
            # A broker may accept a client that asks for less, or a new session.
            while asked != (self._limits(), self._clean):
                asked, self.failure, self._closed_by_peer = (self._limits(), self._clean), None, False
                left = max(deadline - time.monotonic(), 0.0)
                patience = left if protocol is protocols[-1] else min(_FALLBACK_SECONDS, left / 2)
                client = self._new_client(protocol)
                if self._attempt(client, patience, self._properties(protocol)):
                    return client
            if self._final or self.stopped.is_set():
                break
        return None

    def refused(self, reason: str, client_id: str) -> None:
        """Record that the broker refused the client, for a ``reason`` of the MQTT standard."""
        self.failure, self._final = from_reason_code(reason, client_id), reason not in _VERSION_REASONS

    def found_session(self) -> None:
        """Record that the broker has a session of an earlier process, whose message ids it would take for repetitions.

        The next attempt asks for a new one.
        """
        self._clean = MQTT_CLEAN_START_FIRST_ONLY

    def closed(self) -> None:
        """Record that the connection was closed before an answer."""
        if self.failure is None:
            self.failure, self._closed_by_peer = from_closed_connection(self._config, self._broker), True

    def _attempt(self, client: Client, patience: float, properties: Properties | None) -> bool:
        try:
            accepted = self._connect(client, patience, properties)
        except OSError as error:  # no TCP or TLS connection, with whatever version
            self.failure, self._final = from_error(error, self._config, self._broker), True
            return False
        if self._closed_by_peer and self._tls is not None:
            alert = from_late_alert(self._config, self._broker, self._tls)
            self.failure, self._final = alert or self.failure, alert is not None
        return accepted

    def _connect(self, client: Client, patience: float, properties: Properties | None) -> bool:
        """Connect and wait up to ``patience`` seconds for the broker's answer; return whether it accepted."""
        deadline = time.monotonic() + patience
        # The client's protocol is not public, but only MQTT 5 has properties.
        clean = MQTT_CLEAN_START_FIRST_ONLY if properties is None else self._clean
        client.connect(
            self._broker.host, self._broker.port, self._config.keepalive, clean_start=clean, properties=properties
        )
        while not client.is_connected() and (sock := client.socket()) is not None:
            left = deadline - time.monotonic()
            if left <= 0 or self.stopped.is_set():
                client.disconnect()
                return False
            readable, writable, _ = select.select(
                [sock], [sock] if client.want_write() else [], [], min(left, _POLL_SECONDS)
            )
            if readable:
                client.loop_read()
            if writable:
                client.loop_write()
        return client.is_connected()

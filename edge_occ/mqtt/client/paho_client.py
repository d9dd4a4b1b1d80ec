"""paho's client as it is used here: how one is made, and the properties of its packets."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_occ.mqtt.topics import mqtt_string

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
RECONNECT_SECONDS = 1, 30
"""First and longest pause before the connection is tried again."""
SOCKET_SECONDS = 5.0
"""Seconds a TCP connection and its TLS handshake may take."""


@dataclass(frozen=True)
class Subscription:
    """What a client wants to hear.

    Attributes:
        filters: topic filters, all with QoS 1.
        on_message: called in the network thread for each message; must return soon and not raise.
        most_bytes: a broker of MQTT 5 is told to send no packet larger than this.
    """

    filters: tuple[str, ...]
    on_message: Callable[[MQTTMessage], None]
    most_bytes: int


def make_client(
    client_id: str,
    protocol: MQTTProtocolVersion,
    credentials: tuple[str | None, str | None],
    tls: ssl.SSLContext | None,
) -> Client:
    """A client, not connected: retries after 1 to 30 s, sends at once."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.reconnect_delay_set(*RECONNECT_SECONDS)
    client.connect_timeout = SOCKET_SECONDS
    client.username_pw_set(*credentials)
    client.on_socket_open = _send_at_once
    if tls is not None:
        client.tls_set_context(tls)
    return client


def connect_properties(protocol: MQTTProtocolVersion, subscription: Subscription | None) -> Properties | None:
    """Asks a broker of MQTT 5 to send no packet larger than the subscription takes."""
    if protocol is not V5 or subscription is None:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = subscription.most_bytes
    return properties


def user_properties(pairs: dict[str, str]) -> Properties:
    """User properties of a message, MQTT 5 only; what its strings may not hold becomes a question mark."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [(mqtt_string(key), mqtt_string(value)) for key, value in pairs.items()]
    return properties


def _send_at_once(_client: Client, _data: object, sock: object) -> None:
    """Without this, TCP holds a message back for up to 40 ms, in case there is more to send (Nagle)."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

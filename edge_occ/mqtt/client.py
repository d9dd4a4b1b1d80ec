"""paho's client as it is used here: how one is made, and what becomes of a message given to it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
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
    will: tuple[str, bytes] | None,
) -> Client:
    """A client, not connected: retries after 1 to 30 s, sends at once; ``will`` is a topic and a payload, retained."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.reconnect_delay_set(1, 30)
    client.connect_timeout = SOCKET_SECONDS
    client.username_pw_set(*credentials)
    client.on_socket_open = _send_at_once
    if tls is not None:
        client.tls_set_context(tls)
    if will is not None:
        client.will_set(*will, qos=1, retain=True)
    return client


def connect_properties(protocol: MQTTProtocolVersion, subscription: Subscription | None) -> Properties | None:
    """Asks a broker of MQTT 5 to send no packet larger than the subscription takes."""
    if protocol is not V5 or subscription is None:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = subscription.most_bytes
    return properties


def user_properties(pairs: dict[str, str]) -> Properties:
    """User properties of a message, MQTT 5 only."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = list(pairs.items())
    return properties


def delivery(info: MQTTMessageInfo, timeout: float = 0.0) -> bool | None:
    """Whether a message has left (QoS 0) or was confirmed (QoS 1); ``False`` if it is lost, ``None`` if neither yet."""
    try:
        if timeout > 0:
            info.wait_for_publish(timeout)
        return info.is_published() or None
    except (RuntimeError, ValueError):  # paho's words for: not connected, connection lost, queue full
        return False


def _send_at_once(_client: Client, _data: object, sock: object) -> None:
    """Without this, TCP holds a message back for up to 40 ms, in case there is more to send (Nagle)."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

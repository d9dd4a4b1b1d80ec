"""paho's client with the project's settings, and the properties of its packets."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import Client, MQTTMessage, topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_occ.mqtt.topics import mqtt_string

V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
RECONNECT_SECONDS = 1, 30
"""First and longest pause before reconnecting."""
SOCKET_SECONDS = 5.0
"""Timeout of a TCP connection with its TLS handshake, seconds."""


@dataclass(frozen=True)
class Subscription:
    """Topics a client subscribes to on every connection.

    Attributes:
        filters: topic filters, all with QoS 1.
        on_message: called in the network thread for each message; must return soon and not raise.
        max_bytes: largest packet that a broker of MQTT 5 is asked to send.
        required: whether the client is of no use without it; otherwise a refusal is only logged.
        as_published: have a broker of MQTT 5 leave the retain flag as the sender set it, so that a retained message is
            known as one when it is sent, too.
    """

    filters: tuple[str, ...]
    on_message: Callable[[MQTTMessage], None]
    max_bytes: int
    required: bool = True
    as_published: bool = False


def joined(*subscriptions: Subscription | None) -> Subscription | None:
    """Return one subscription for all that are given, each of which gets the messages of its own filters."""
    given = [subscription for subscription in subscriptions if subscription is not None]
    if len(given) < 2:
        return given[0] if given else None

    def on_message(message: MQTTMessage) -> None:
        for subscription in given:
            if any(topic_matches_sub(topic_filter, message.topic) for topic_filter in subscription.filters):
                subscription.on_message(message)

    return Subscription(
        tuple(topic_filter for subscription in given for topic_filter in subscription.filters),
        on_message,
        max(subscription.max_bytes for subscription in given),
        required=any(subscription.required for subscription in given),
        as_published=any(subscription.as_published for subscription in given),
    )


def make_client(
    client_id: str,
    protocol: MQTTProtocolVersion,
    credentials: tuple[str | None, str | None],
    tls: ssl.SSLContext | None,
) -> Client:
    """Return a client that is not connected; it reconnects after 1 to 30 s and sends without delay."""
    client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
    client.reconnect_delay_set(*RECONNECT_SECONDS)
    client.connect_timeout = SOCKET_SECONDS
    client.username_pw_set(*credentials)
    client.on_socket_open = _disable_nagle
    if tls is not None:
        client.tls_set_context(tls)
    return client


def stop_client(client: Client) -> None:
    """Close the connection at once, even in the middle of a message, and end the network thread."""
    sock = client.socket()
    if isinstance(sock, socket.socket):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    client.disconnect()
    with contextlib.suppress(AttributeError):  # paho clears an ended thread, even between its check and its join
        client.loop_stop()
    client.disconnect()  # for a connection made in the thread's last moment


def connect_properties(
    protocol: MQTTProtocolVersion, subscription: Subscription | None, session_seconds: int
) -> Properties | None:
    """Return the properties of a CONNECT packet, MQTT 5 only.

    Args:
        protocol: version.
        subscription: says the largest packet that is accepted.
        session_seconds: how long the broker shall keep the session without a connection.
    """
    if protocol is not V5:
        return None
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if subscription is not None:
        properties.MaximumPacketSize = subscription.max_bytes
    if session_seconds:
        properties.SessionExpiryInterval = session_seconds
    return properties


def publish_properties(user_properties: dict[str, str]) -> Properties:
    """Return the properties of a PUBLISH packet, MQTT 5 only; characters that MQTT forbids become question marks."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [(mqtt_string(key), mqtt_string(value)) for key, value in user_properties.items()]
    return properties


def _disable_nagle(_client: Client, _data: object, sock: object) -> None:
    """Send small messages at once: Nagle's algorithm would delay them by up to 40 ms."""
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

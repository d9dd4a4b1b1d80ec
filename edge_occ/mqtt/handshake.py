"""The first connection: one attempt with one protocol, and words for what can go wrong.

paho's own loop would reconnect for ever and tell nobody, so it starts only after the broker has accepted the client.
"""

from __future__ import annotations

import select
import socket
import ssl
import time

from paho.mqtt.client import Client
from paho.mqtt.properties import Properties

from edge_occ.errors import InputError
from edge_occ.mqtt.broker import PASSWORD, USERNAME, Broker
from edge_occ.mqtt.client import SOCKET_SECONDS

NO_RIGHTS = frozenset({"Bad user name or password", "Not authorized", "Banned", "Bad authentication method"})
"""Reasons of a refusal that no other protocol version would mend."""
HUNG_UP = "a connection that was closed without an answer"


def attempt(client: Client, broker: Broker, keepalive: int, patience: float, properties: Properties | None) -> bool:
    """Connect ``client``, whose loop is not running, and wait for the answer; gives whether it was accepted.

    Args:
        client: its callbacks learn the reason of a refusal.
        broker: where to.
        keepalive: seconds.
        patience: seconds to wait for the answer.
        properties: of the connection, MQTT 5 only.

    Raises:
        InputError: no TCP or TLS connection, which no other protocol version would mend.
    """
    deadline = time.monotonic() + patience
    try:
        client.connect(broker.host, broker.port, keepalive, properties=properties)
        while not client.is_connected() and (sock := client.socket()) is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                client.disconnect()
                return False
            readable, writable, _ = select.select([sock], [sock] if client.want_write() else [], [], left)
            if readable:
                client.loop_read()
            if writable:
                client.loop_write()
    except OSError as error:
        found = _words(error, broker.tls)
    else:
        return client.is_connected()
    # Not chained to the cause: paho leaves a socket whose TLS handshake failed open, and the cause would keep it so.
    raise refusal(broker, found)


def refusal(broker: Broker, found: str) -> InputError:
    """The error for a broker that cannot be reached or does not accept this client."""
    advice = f"start one there, say mosquitto -p {broker.port}, or use --broker mqtt://host[:port]"
    if found in NO_RIGHTS:
        advice = f"set the environment variables {USERNAME} and {PASSWORD}"
    elif "certificate" in found:
        advice = "set mqtt.ca to the PEM file of the authority that signed the broker's certificate"
    elif "TLS" in found:
        advice = "use mqtt:// for a plain port, or the broker's TLS port, 8883 as a rule"
    elif found == HUNG_UP:
        advice = "use --broker mqtts://host:port if this is a port for TLS, or the broker's plain port, 1883 as a rule"
    return InputError(f"an MQTT broker at {broker} that accepts this client", f"{found[0].lower()}{found[1:]}", advice)


def _words(error: OSError, tls: bool) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"a certificate that cannot be verified ({error.verify_message})"
    if isinstance(error, ssl.SSLError) or (tls and isinstance(error, ConnectionResetError)):
        return f"no TLS there ({error.strerror or error})"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, TimeoutError):
        return f"no answer within {SOCKET_SECONDS:g} s"
    return error.strerror or str(error) or type(error).__name__

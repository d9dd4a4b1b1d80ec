"""The first connection: one attempt with one protocol.

paho's own loop would reconnect for ever and report nothing, so it starts only after the broker has accepted the client.
"""

from __future__ import annotations

import select
import time

from paho.mqtt.client import Client
from paho.mqtt.properties import Properties

from edge_occ.mqtt.broker import Broker


def attempt(client: Client, broker: Broker, keepalive: int, patience: float, properties: Properties | None) -> bool:
    """Connect ``client``, whose loop is not running, and wait for the answer; gives whether it was accepted.

    Args:
        client: its callbacks learn the reason of a refusal.
        broker: where to.
        keepalive: seconds.
        patience: seconds to wait for the answer.
        properties: of the connection, MQTT 5 only.

    Raises:
        OSError: no TCP or TLS connection, which no other protocol version would mend.
    """
    deadline = time.monotonic() + patience
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
    return client.is_connected()

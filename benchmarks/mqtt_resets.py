"""MQTT against a server that resets the connection at random: what it has received, confirmed or not.

    PYTHONPATH=.:tests:benchmarks python benchmarks/mqtt_resets.py

Unlike a broker that is killed, it records every message before it confirms it, so that what is missing was lost by
edge-occ.  Half of the resets follow a message that was confirmed, half one that was not.
"""

from __future__ import annotations

import json
import logging
import random
import socket
import struct
import tempfile
import threading
import time
from pathlib import Path

from mqtt_helpers import render
from mqtt_outages import frame_with_event, wait_long

from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.publisher import Publisher

_EVENTS = 10_000
_CONNECT, _PUBLISH, _UNSUBSCRIBE, _PING = 1, 3, 10, 12


class Recorder:
    """A server of MQTT 3.1.1 for one publisher.

    Attributes:
        events: payloads received on topics of events, in order.
        resets: connections that it has reset.
    """

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.resets = 0
        self._chance = random.Random(1)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            peer, _ = self._server.accept()
            try:
                self._serve(peer, self._chance.randint(200, 3000))
            except ConnectionError:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
                peer.close()

    def _serve(self, peer: socket.socket, messages: int) -> None:
        while True:
            kind, flags, body = _packet(peer)
            if kind == _CONNECT:
                peer.sendall(b"\x20\x02\x00\x00")
            elif kind == _UNSUBSCRIBE:
                peer.sendall(b"\xb0\x02" + body[:2])
            elif kind == _PING:
                peer.sendall(b"\xd0\x00")
            elif kind == _PUBLISH and flags & 2:  # QoS 1
                begin = 2 + int.from_bytes(body[:2], "big")
                if body[2:begin].endswith(b"/event"):
                    self.events.append(body[begin + 2 :])
                messages -= 1
                if messages or self._chance.random() < 0.5:
                    peer.sendall(b"\x40\x02" + body[begin : begin + 2])
                if not messages:
                    self.resets += 1
                    raise ConnectionResetError


def _packet(peer: socket.socket) -> tuple[int, int, bytes]:
    head, length, shift = _read(peer, 1)[0], 0, 0
    while True:
        byte = _read(peer, 1)[0]
        length |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return head >> 4, head & 15, _read(peer, length)


def _read(peer: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := peer.recv(count - len(data))):
            raise ConnectionError
        data += more
    return data


def main() -> None:
    logging.disable(logging.WARNING)
    server = Recorder()
    with tempfile.TemporaryDirectory() as folder:
        url = f"mqtt://127.0.0.1:{server.port}"
        config = MqttConfig(broker=url, device="bench", state=Path(folder), heatmap_hz=0, protocol="v3.1.1")
        with Publisher(config, render) as publisher:
            for index in range(_EVENTS):
                publisher.publish(frame_with_event(index))
                time.sleep(0.0005)
            # Connections that break soon after their start are tried again after up to a minute.
            wait_long(lambda: publisher.summary.published.get("event", 0) == _EVENTS, 600)
            publisher.close()
    frames = [json.loads(payload)["frame"] for payload in server.events]
    first = list(dict.fromkeys(frames))
    print(
        f"{server.resets} resets: {publisher.summary.published['event']} confirmed, "
        f"{len(first)} of {_EVENTS} received, "
        f"{len(frames) - len(first)} repetitions, in order: {first == sorted(first)}"
    )


if __name__ == "__main__":
    main()

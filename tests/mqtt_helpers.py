"""A real broker under control, a subscriber, and inspections to publish."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge_occ.bundle.conformal import Verdict
from edge_occ.inspection.events import EventChange, Phase
from edge_occ.inspection.result import Box, Inspection
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.embedded import broker_answers
from edge_occ.mqtt.payloads import Event
from edge_occ.mqtt.topics import EVENT
from edge_occ.mqtt.watch import Watcher
from edge_occ.sources.frame import Frame
from engines.base import Scores

PATIENCE = 10.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def tool(name: str, package: str, *, optional: bool = False) -> str:
    """Return the path of a program; without it the test fails, or is skipped where it is ``optional``."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    if found is None:
        give_up = pytest.skip if optional else pytest.fail
        give_up(f"these tests need {name}, which is not on PATH nor in /usr/sbin: apt install {package}")
    return found


def wait_until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """For conditions of another process or of a thread that offers no event."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:g} s in vain for {what}"
        time.sleep(0.01)


class Mosquitto:
    """One broker process on a loopback port that it keeps over restarts."""

    def __init__(self, folder: Path, extra: Iterable[str] = ("allow_anonymous true",)) -> None:
        self.port = free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        self._log = folder / f"mosquitto-{self.port}.log"
        lines = [f"listener {self.port} 127.0.0.1", *extra]
        if os.geteuid() == 0:
            lines.append("user root")  # otherwise it drops its permissions on the files of this test
        self._config.write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> Mosquitto:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [tool("mosquitto", "mosquitto"), "-c", str(self._config)], stdout=log, stderr=log
            )
        process = self._process
        wait_until(lambda: process.poll() is not None or broker_answers("127.0.0.1", self.port), "mosquitto")
        assert process.poll() is None, f"mosquitto did not start:\n{self._log.read_text()}"
        return self

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self._process.wait(PATIENCE)
            self._process = None


class Link:
    """A TCP proxy of a broker: each direction can be paused; cutting the connections loses the data that waits."""

    def __init__(self, port: int, own_port: int = 0) -> None:
        self._broker = port
        self._up, self._down = threading.Event(), threading.Event()
        self._server = socket.create_server(("127.0.0.1", own_port))
        self.port = self._server.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def __enter__(self) -> Link:
        self.release()
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.release()
        for thread in self._threads:  # what was sent before the end is still carried
            thread.join(1.0)
        self.cut()
        for thread in self._threads:
            thread.join(PATIENCE)

    def hold(self) -> None:
        """Pause the direction to the broker."""
        self._up.clear()

    def hold_answers(self) -> None:
        """Pause the direction from the broker."""
        self._down.clear()

    def release(self) -> None:
        self._up.set()
        self._down.set()

    def cut(self) -> None:
        """End every connection; new ones are accepted."""
        while self._sockets:
            with contextlib.suppress(OSError):
                self._sockets.pop().shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                broker = socket.create_connection(("127.0.0.1", self._broker))
            except OSError:  # no broker at present
                client.close()
                continue
            ways = [(client, broker, self._up), (broker, client, self._down)]
            self._sockets += [client, broker]
            for way in ways:
                self._threads.append(threading.Thread(target=self._carry, args=way, daemon=True))
                self._threads[-1].start()

    def _carry(self, source: socket.socket, target: socket.socket, gate: threading.Event) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(4096):
                while not gate.wait(0.02):
                    if source not in self._sockets:  # cut while it waits
                        return
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_server(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """The address of something that takes one connection after the other and is no broker."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def serve() -> None:
            while True:
                peer, _ = server.accept()
                with peer, contextlib.suppress(ConnectionError):
                    if done.is_set():
                        return
                    answer(peer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = server.getsockname()[1]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            done.set()
            socket.create_connection(("127.0.0.1", port)).close()
            thread.join(PATIENCE)


class Ear:
    """A plain paho client that keeps all messages under a filter; ``lasting``, also those sent while it is away.

    With ``qos`` 2 a broker that keeps its session, too, sends it each message once.
    """

    def __init__(
        self,
        port: int,
        topic_filter: str,
        protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
        *,
        lasting: bool = False,
        qos: int = 1,
    ) -> None:
        self.heard: list[MQTTMessage] = []
        self._arrived = threading.Condition()
        self._subscribed = subscribed = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "lasting" if lasting else "", protocol=protocol)
        self._client.on_connect = lambda client, *_: client.subscribe(topic_filter, qos=qos)
        self._client.on_subscribe = lambda *_: subscribed.set()
        self._client.on_message = self._hear
        self._client.reconnect_delay_set(1, 1)
        if lasting:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            self._client.connect("127.0.0.1", port, clean_start=False, properties=properties)
        else:
            self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert subscribed.wait(PATIENCE)
        self._client.on_disconnect = lambda *_: subscribed.clear()

    def __enter__(self) -> Ear:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def wait_for_resubscription(self) -> None:
        """Wait until it is subscribed, after a lost connection that it may not have noticed yet."""
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not self._subscribed.is_set(), "the end of the connection", 1.0)
        assert self._subscribed.wait(PATIENCE)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(PATIENCE)

    def wait_for(self, enough: Callable[[list[MQTTMessage]], bool], what: str) -> list[MQTTMessage]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: enough(self.heard), PATIENCE), (
                f"waited in vain for {what}; heard {[(m.topic, bytes(m.payload)[:60]) for m in self.heard[-10:]]}"
            )
            return list(self.heard)

    def of(self, kind: str) -> list[MQTTMessage]:
        return [message for message in self.heard if message.topic.endswith(f"/{kind}")]

    def wait_for_kind(self, kind: str, count: int = 1) -> list[MQTTMessage]:
        self.wait_for(lambda _: len(self.of(kind)) >= count, f"{count} of {kind}, got {len(self.of(kind))}")
        return self.of(kind)

    def wait_for_state(self, state: str, count: int = 1) -> None:
        needle = f'"state":"{state}"'.encode()
        self.wait_for(lambda _: sum(needle in bytes(m.payload) for m in self.of("status")) >= count, f"status {state}")

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._arrived:
            self.heard.append(message)
            self._arrived.notify_all()


@contextmanager
def watched(broker: Mosquitto) -> Iterator[list[Event]]:
    """Collect event messages as ``edge-occ watch`` shows them: each once."""
    events: list[Event] = []
    stop = threading.Event()

    def watch() -> None:
        events.extend(received.message for received in watcher if isinstance(received.message, Event))

    with Watcher(MqttConfig(broker=broker.url), kinds=[EVENT], stop=stop) as watcher:
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield events
        finally:
            stop.set()
            thread.join()


def inspection(
    index: int = 0,
    score: float = 0.5,
    *,
    event: Phase | None = None,
    captured: float | None = None,
    name: str | None = None,
    size: int = 32,
    of: str | None = None,
) -> Inspection:
    """An inspection of a grey frame; above 1 it is anomalous.  ``of`` is the id of its event."""
    verdict = Verdict(score, 0.25, 1.0, score > 1)
    frame = Frame(
        index,
        datetime.now(timezone.utc),
        time.monotonic() if captured is None else captured,
        np.full((size, size, 3), index % 256, np.uint8),
        name,
    )
    boxes = (Box(1, 2, 3, 4, score),) if verdict.anomalous else ()
    change = None if event is None else EventChange(of or f"event-{index}", event, score, 1)
    return Inspection(frame, Scores(score, np.zeros((4, 4), np.float32)), verdict, boxes, change)


def render(shown: Inspection) -> bytes:
    done, jpeg = cv2.imencode(".jpg", shown.frame.image)
    assert done
    return jpeg.tobytes()


@contextmanager
def connected(config: MqttConfig) -> Iterator[Connection]:
    """A device's connection, closed at the end."""
    connection = Connection(config, f"test:{config.device}", status_topic=config.topics.status)
    connection.connect(config.connect_timeout)
    try:
        yield connection
    finally:
        connection.close(PATIENCE)


def payloads(messages: Iterable[MQTTMessage]) -> list[dict]:
    """The JSON of messages."""
    return [json.loads(bytes(message.payload)) for message in messages]

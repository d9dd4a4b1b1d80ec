"""configs/mosquitto with a real mosquitto: TLS, and who may send commands."""

from __future__ import annotations

import json
import ssl
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from mqtt_helpers import PATIENCE, Mosquitto, tool, wait_until
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.commands.handler import MemoryHandler
from edge_occ.mqtt.commands.replies import Replies
from edge_occ.mqtt.commands.service import CommandService
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.topics import Topics

FOLDER = Path(__file__).parents[1] / "configs" / "mosquitto"
USERS = ("station-7", "station-8", "operator", "dashboard")
INSTALLED = "/etc/mosquitto/edge-occ"
REQUEST = b'{"id":"a-1","command":"rearm"}'


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """The broker of the folder's own lines, on a free port and with a certificate for 127.0.0.1."""
    folder = tmp_path_factory.mktemp("mosquitto")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=broker", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", folder / "server.key", "-out", folder / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "acl").write_bytes((FOLDER / "acl").read_bytes())
    (folder / "passwords").write_text("".join(f"{user}:{user}-secret\n" for user in USERS))
    subprocess.run([tool("mosquitto_passwd", "mosquitto"), "-U", folder / "passwords"], check=True)
    lines = (FOLDER / "mosquitto.conf").read_text().replace(INSTALLED, str(folder)).splitlines()
    kept = [line for line in lines if not line.startswith("listener")]
    assert len(kept) == len(lines) - 1
    mosquitto = Mosquitto(folder, kept).start()
    yield mosquitto, folder / "server.crt"
    mosquitto.stop()


class User:
    """A client of one user; keeps what it reads and the reasons of its publications."""

    def __init__(self, broker, name, topic_filter="edge-occ/#"):
        mosquitto, certificate = broker
        self.heard: list[str] = []
        self._reasons: dict[int, str] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(name, f"{name}-secret")
        self._client.tls_set_context(ssl.create_default_context(cafile=certificate))
        subscribed: list[bool] = []
        self._client.on_connect = lambda client, *_: client.subscribe(topic_filter, qos=1)
        self._client.on_subscribe = lambda *_: subscribed.append(True)
        self._client.on_message = lambda _client, _data, message: self.heard.append(message.topic)
        self._client.on_publish = lambda _client, _data, mid, reason, _: self._reasons.update({mid: str(reason)})
        self._client.connect("127.0.0.1", mosquitto.port)
        self._client.loop_start()
        wait_until(lambda: bool(subscribed), "the subscription")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic, payload=REQUEST):
        """Publish with QoS 1; return the broker's reason."""
        info = self._client.publish(topic, payload, qos=1)
        wait_until(lambda: info.mid in self._reasons, "the broker's answer")
        return self._reasons[info.mid]


@contextmanager
def inspector(broker, monkeypatch, handler):
    """An inspector of station-7 that takes commands."""
    mosquitto, certificate = broker
    monkeypatch.setenv(USERNAME, "station-7")
    monkeypatch.setenv(PASSWORD, "station-7-secret")
    config = MqttConfig(broker=f"mqtts://127.0.0.1:{mosquitto.port}", device="station-7", ca=certificate)
    service, topics = CommandService(("rearm",)), config.topics
    channel = service.open(topics)
    connection = Connection(config, "station-7", status_topic=topics.status, subscription=channel.subscription)
    channel.serve(handler, Replies(connection, topics, service.stopped))
    connection.connect(PATIENCE)
    service.start()
    try:
        yield topics
    finally:
        service.close()
        connection.close(PATIENCE)


def test_an_operator_sends_commands_and_nobody_else(broker, monkeypatch):
    handler = MemoryHandler()
    with (
        inspector(broker, monkeypatch, handler) as topics,
        User(broker, "operator") as operator,
        User(broker, "dashboard") as dashboard,
        User(broker, "station-8") as other,
        User(broker, "station-7", "edge-occ/station-8/#") as itself,
    ):
        for stranger in (dashboard, other, itself):
            assert stranger.publish(topics.command) == "Not authorized"
        assert operator.publish(topics.command) == "Success"
        wait_until(lambda: topics.command_ack in operator.heard, "the answer")
        wait_until(lambda: topics.command_ack in dashboard.heard, "the answer")
        other_status = Topics("edge-occ", "station-8").status
        assert other.publish(other_status, b"") == "Success"
        wait_until(lambda: other_status in dashboard.heard, "the status")
        # What a device reads of others' topics, or of its own but its commands: nothing.
        assert (other.heard, itself.heard) == ([], [])
    assert [request.id for request in handler.requests] == ["a-1"]


def test_a_device_writes_its_own_topics_and_no_other_s(broker):
    own, left = Topics("edge-occ", "station-8"), Topics("edge-occ", "station-8", "left")
    with User(broker, "station-8") as device, User(broker, "operator") as operator:
        for topics in (own, left):
            written = [topics.status, topics.score, topics.event, topics.heatmap, topics.snapshot, topics.stats]
            for topic in [*written, topics.command_ack]:
                assert device.publish(topic, b"") == "Success"
                assert operator.publish(topic, b"") == "Not authorized"
            assert device.publish(topics.command) == "Not authorized"
        assert device.publish(Topics("edge-occ", "station-7").status, b"") == "Not authorized"


def test_a_device_reads_the_commands_of_its_cameras(broker):
    left = Topics("edge-occ", "station-8", "left")
    with User(broker, "station-8") as device, User(broker, "operator") as operator:
        operator.publish(left.command)
        wait_until(lambda: bool(device.heard), "the command")
    assert device.heard == [left.command]


def test_a_dashboard_writes_nothing(broker):
    with User(broker, "dashboard") as dashboard:
        for topic in ("edge-occ/station-7/score", "edge-occ/station-7/command/ack", "other", "$SYS/x"):
            assert dashboard.publish(topic, json.dumps({}).encode()) == "Not authorized"


def test_without_tls_or_password_nobody_is_let_in(broker):
    mosquitto, certificate = broker
    client = Client(CallbackAPIVersion.VERSION2)
    reasons: list[str] = []
    client.on_connect = lambda _client, _data, _flags, reason, _: reasons.append(str(reason))
    client.tls_set_context(ssl.create_default_context(cafile=certificate))
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    wait_until(lambda: bool(reasons), "the refusal")
    client.loop_stop()
    assert reasons[0] == "Not authorized"
    plain = Client(CallbackAPIVersion.VERSION2)
    plain.connect("127.0.0.1", mosquitto.port)
    ended: list[bool] = []
    plain.on_disconnect = lambda *_: ended.append(True)
    plain.loop_start()
    wait_until(lambda: bool(ended), "the end of the connection")
    plain.loop_stop()

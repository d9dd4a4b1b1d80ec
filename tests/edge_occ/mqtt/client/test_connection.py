from __future__ import annotations

import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from mqtt_helpers import PATIENCE, Ear, Mosquitto, connected, free_port, tool, wait_until
from paho.mqtt.enums import MQTTProtocolVersion

from edge_occ.common.errors import InputError
from edge_occ.mqtt.broker import PASSWORD, USERNAME
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.embedded import EmbeddedBroker
from edge_occ.mqtt.payloads import DeviceState


def states(ear: Ear) -> list[bytes]:
    return [bytes(message.payload) for message in ear.of("status")]


def test_birth_and_offline_are_retained_and_mqtt_5_is_spoken(broker, config, ear):
    with connected(config) as connection:
        assert connection.v5
        assert connection.session == 1
        ear.wait_for_state("online")
        with Ear(broker.port, config.topics.status) as late:
            late.wait_for_state("online")
            assert late.heard[0].retain
    ear.wait_for_state("offline")
    with Ear(broker.port, config.topics.status) as late:
        late.wait_for_state("offline")
        assert late.heard[0].retain
    assert len(states(ear)) == 2  # the will did not speak after the goodbye


def test_a_chosen_protocol_is_the_one_used(config):
    with connected(config.model_copy(update={"protocol": "v3.1.1"})) as connection:
        assert not connection.v5
        assert connection.session == 1


def test_an_announced_state_replaces_the_birth(config, ear):
    with connected(config) as connection:
        connection.announce(DeviceState.BUILDING, "engine, 3 of 9")
        ear.wait_for_state("building")
        assert b'"detail":"engine, 3 of 9"' in states(ear)[-1]


def test_the_will_is_published_for_a_process_that_is_killed(broker, config, ear):
    script = (
        "import sys; from edge_occ.mqtt.config import MqttConfig\n"
        "from edge_occ.mqtt.client.connection import Connection\n"
        "config = MqttConfig(broker=sys.argv[1], prefix=sys.argv[2], device=sys.argv[3])\n"
        "Connection(config, 'mortal', status_topic=config.topics.status).connect(10)\n"
        "sys.stdin.read()"
    )
    arguments = [sys.executable, "-c", script, config.broker, config.prefix, config.device]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as process:
        ear.wait_for_state("online")
        process.kill()
        ear.wait_for_state("offline")
    with Ear(broker.port, config.topics.status) as late:
        late.wait_for_state("offline")
        assert late.heard[0].retain
        will = json.loads(bytes(late.heard[0].payload))
    birth = json.loads(states(ear)[0])
    assert (will["device"], will["camera"], will["state"]) == (config.device, "", "offline")
    assert 0 <= birth["ts"] - will["ts"] < 60_000


def test_the_state_is_published_again_after_the_broker_was_away(own_broker, config, caplog):
    config = config.model_copy(update={"broker": own_broker.url})
    caplog.set_level(logging.INFO)
    with connected(config) as connection:
        connection.announce(DeviceState.FAULT, "lens covered")
        own_broker.stop()
        wait_until(lambda: connection.session == 0, "the connection to be lost")
        own_broker.start()
        wait_until(lambda: connection.session == 2, "the connection to be back")
        with Ear(own_broker.port, config.topics.status) as late:
            late.wait_for_state("fault")
            assert late.heard[0].retain
    assert "lost" in caplog.text
    assert "again" in caplog.text


def test_nothing_is_handed_over_to_another_session(config):
    with connected(config) as connection:
        for session in (0, 2):
            assert not connection.publish(session, config.topics.score, b"x")
            assert connection.publish_confirmed(session, config.topics.event, b"x") is None
            assert connection.fence(session) is None
        assert connection.publish(1, config.topics.score, b"x")
        assert connection.publish_confirmed(1, config.topics.event, b"x") is not None
        assert connection.fence(1) is not None
    assert not connection.publish(1, config.topics.score, b"x")


def test_closing_does_not_wait_for_a_stalled_broker_which_publishes_the_will(own_broker, config):
    config = config.model_copy(update={"broker": own_broker.url})
    connection = Connection(config, "stalled", status_topic=config.topics.status)
    connection.connect(PATIENCE)
    own_broker.pause()
    connection.close(0.2)
    own_broker.resume()
    with Ear(own_broker.port, config.topics.status) as late:
        late.wait_for_state("offline")
    assert not [thread for thread in threading.enumerate() if "stalled" in thread.name]


def test_closing_does_not_wait_for_a_connection_blocked_in_a_message(own_broker, config):
    config = config.model_copy(update={"broker": own_broker.url, "keepalive": 3600})
    connection = Connection(config, "stuck", status_topic=config.topics.status)
    connection.connect(PATIENCE)
    own_broker.pause()
    connection.publish(1, config.topics.heatmap, bytes(10_000_000))  # more than the buffers of a TCP connection hold
    end = threading.Thread(target=connection.close, args=(0.2,), daemon=True)
    end.start()
    end.join(PATIENCE)
    assert not end.is_alive()
    own_broker.resume()
    with Ear(own_broker.port, config.topics.status) as late:
        late.wait_for_state("offline")


def test_closing_while_the_broker_is_away_ends_the_reconnecting(own_broker, config):
    connection = Connection(config.model_copy(update={"broker": own_broker.url}), "lonely")
    connection.connect(PATIENCE)
    own_broker.stop()
    wait_until(lambda: connection.session == 0, "the connection to be lost")
    connection.close(0.2)
    connection.close(0.2)
    assert not [thread for thread in threading.enumerate() if "lonely" in thread.name]


def test_a_broker_of_3_1_1_only_is_fallen_back_to(config):
    with EmbeddedBroker(free_port()) as embedded:
        config = config.model_copy(update={"broker": embedded.url, "connect_timeout": 2.0})
        with Ear(embedded.port, config.topics.status, protocol=MQTTProtocolVersion.MQTTv311) as ear:
            with connected(config) as connection:
                assert not connection.v5
                ear.wait_for_state("online")
            ear.wait_for_state("offline")
        with pytest.raises(InputError, match="MQTT"):
            Connection(config.model_copy(update={"protocol": "v5"}), "five-only", status_topic="a/b").connect(0.5)


@pytest.fixture
def secured_broker(tmp_path) -> Iterator[Mosquitto]:
    passwords = tmp_path / "passwords"
    command = [tool("mosquitto_passwd", "mosquitto"), "-c", "-b", str(passwords), "joe", "secret"]
    subprocess.run(command, check=True, capture_output=True)
    mosquitto = Mosquitto(tmp_path, ["allow_anonymous false", f"password_file {passwords}"]).start()
    yield mosquitto
    mosquitto.stop()


@pytest.mark.parametrize("protocol", ["auto", "v3.1.1"])
def test_credentials_are_taken_from_the_environment_and_never_shown(
    secured_broker, config, monkeypatch, caplog, protocol
):
    caplog.set_level(logging.DEBUG)
    config = config.model_copy(update={"broker": secured_broker.url, "protocol": protocol})
    with pytest.raises(InputError) as caught:
        Connection(config, "nobody").connect(5)
    assert caught.value.found in ("not authorized", "bad user name or password")
    assert PASSWORD in caught.value.advice
    monkeypatch.setenv(USERNAME, "joe")
    monkeypatch.setenv(PASSWORD, "wrong-secret")
    with pytest.raises(InputError) as caught:
        Connection(config, "nobody").connect(5)
    assert "wrong-secret" not in str(caught.value)
    monkeypatch.setenv(PASSWORD, "secret")
    with connected(config) as connection:
        assert connection.session == 1
    assert "secret" not in caplog.text


def test_messages_leave_at_once(monkeypatch, config):
    """Nagle's algorithm would hold an alarm back for 40 ms."""
    seen = []
    original = socket.socket.setsockopt

    def setsockopt(self: socket.socket, level: int, option: int, value: int) -> None:
        seen.append((level, option, value))
        original(self, level, option, value)

    monkeypatch.setattr(socket.socket, "setsockopt", setsockopt)
    with connected(config):
        assert (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1) in seen


def test_a_device_reconnects_after_another_client_took_over(broker, config):
    with connected(config) as first:
        second = Connection(config, f"test:{config.device}")
        second.connect(5)
        wait_until(lambda: first.session != 1, "the first to be thrown out")
        second.close(1)
        wait_until(lambda: first.session > 1, "the first to be back")
        with Ear(broker.port, config.topics.status) as late:
            late.wait_for_state("online")

"""Servers that refuse, limit or do not speak MQTT, and ports where there is none."""

from __future__ import annotations

import socket
import threading

import pytest
from mqtt_helpers import Ear, Mosquitto, connected, free_port, tcp_server, wait_until

from edge_occ.common.errors import InputError
from edge_occ.mqtt.broker import USERNAME
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.paho_client import Subscription
from edge_occ.mqtt.client.receipts import DeliveryOutcome
from edge_occ.mqtt.payloads import DeviceState


def granting(*codes: int):
    """A broker of MQTT 5 that answers a subscription with these reason codes, one a filter."""

    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"\x20\x03\x00\x00\x00")
        subscribe = peer.recv(1000)
        peer.sendall(bytes([0x90, 3 + len(codes)]) + subscribe[2:4] + bytes([0, *codes]))
        peer.recv(1000)

    return answer


@pytest.mark.parametrize("reply", [b"", b"\x20\x02\x00\x01", b"\x20\x03\x00\x84\x00", b"HTTP/1.1 400\r\n\r\n"])
def test_mqtt_3_1_1_is_tried_where_mqtt_5_is_refused(config, reply):
    """Closing without an answer, 3.1.1's refusal of a version, 5's refusal of a version, and no broker at all."""
    levels = []

    def answer(peer: socket.socket) -> None:
        connect = peer.recv(1000)
        levels.append(connect[8])
        peer.sendall(b"\x20\x02\x00\x05" if levels[-1] == 4 else reply)

    with tcp_server(answer) as address, pytest.raises(InputError) as caught:
        Connection(config.model_copy(update={"broker": address}), "client").connect(5)
    assert levels == [5, 4]
    assert caught.value.found == "not authorized"


def test_a_client_without_rights_is_not_tried_again_with_3_1_1(config):
    levels = []

    def answer(peer: socket.socket) -> None:
        levels.append(peer.recv(1000)[8])
        peer.sendall(b"\x20\x03\x00\x87\x00")

    with tcp_server(answer) as address, pytest.raises(InputError, match="not authorized"):
        Connection(config.model_copy(update={"broker": address}), "client").connect(5)
    assert levels == [5]


def not_required(config, address: str) -> None:
    connection = Connection(config.model_copy(update={"broker": address}), "client")
    connection.connect(5, required=False)
    connection.close(0.1)


@pytest.mark.parametrize(
    ("code", "found"), [(0x86, "bad user name or password"), (0x87, "not authorized"), (0x85, "mqtt.client_id")]
)
def test_a_broker_that_does_not_accept_this_client_is_an_error_where_none_is_required(config, code, found):
    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(bytes([0x20, 3, 0, code, 0]))

    with tcp_server(answer) as address, pytest.raises(InputError, match=found):
        not_required(config, address)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"", "a connection that was closed without an answer"),
        (b"\x20\x03\x00\x89\x00", "Server busy"),
        (b"HTTP/1.1 400\r\n\r\n", "a connection that was closed without an answer"),
    ],
)
def test_other_answers_are_logged_where_no_broker_is_required(config, caplog, reply, words):
    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(reply)

    with tcp_server(answer) as address:
        not_required(config, address)
    (line,) = (record.getMessage() for record in caplog.records)
    assert words in line
    assert "inspecting without it" in line


def test_a_server_that_refuses_later_is_logged(config, caplog):
    """Once the program goes on, an answer that ends the start is one more line in the log."""
    replies = iter([b"", b"", b"\x20\x03\x00\x87\x00"])

    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(next(replies, b"\x20\x03\x00\x87\x00"))

    with tcp_server(answer) as address:
        connection = Connection(config.model_copy(update={"broker": address}), "client")
        connection.connect(5, required=False)
        wait_until(lambda: "Not authorized" in caplog.text, "the second attempt")
        connection.close(0.1)


def test_closing_ends_an_attempt_at_a_silent_server(config, caplog):
    with tcp_server(lambda peer: [peer.recv(1000), peer.recv(1000)]) as address:
        connection = Connection(config.model_copy(update={"broker": address}), "mute-client")
        connection.connect(0.1, required=False)
        connection.close(0.1)
        assert not [thread for thread in threading.enumerate() if "mute-client" in thread.name]
    assert "no answer to MQTT within 0.1 s" in caplog.text


def test_a_connection_closed_without_an_answer_is_an_error(config):
    with tcp_server(lambda peer: peer.recv(1000)) as address, pytest.raises(InputError) as caught:
        Connection(config.model_copy(update={"broker": address}), "client").connect(5)
    assert caught.value.found == "a connection that was closed without an answer"


def test_a_silent_server_is_an_error(config):
    with tcp_server(lambda peer: [peer.recv(1000), peer.recv(1000)]) as address, pytest.raises(InputError) as caught:
        Connection(config.model_copy(update={"broker": address}), "client").connect(0.4)
    assert caught.value.found == "no answer to MQTT within 0.4 s"


def test_no_broker_is_an_error_at_once(config):
    with pytest.raises(InputError) as caught:
        Connection(config.model_copy(update={"broker": f"mqtt://127.0.0.1:{free_port()}"}), "client").connect(10)
    assert caught.value.found == "connection refused"
    assert "mosquitto -p" in caught.value.advice
    with pytest.raises(InputError, match="no such host"):
        Connection(config.model_copy(update={"broker": "mqtt://no-such-host.invalid"}), "client").connect(10)


PAHO_LEAVES_OPEN = pytest.mark.filterwarnings(
    # The socket of a failed TLS handshake; seen in the next garbage collection, which these tests bring about.
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)


@PAHO_LEAVES_OPEN
def test_a_plain_port_is_not_taken_for_tls(broker, config):
    with pytest.raises(InputError, match="TLS") as caught:
        Connection(config.model_copy(update={"broker": broker.url.replace("mqtt:", "mqtts:")}), "client").connect(5)
    assert "mqtt://" in caught.value.advice


def test_a_refused_subscription_is_an_error(config):
    wish = Subscription(("a/+/score",), lambda _: None, 1000)
    with tcp_server(granting(0x87)) as address, pytest.raises(InputError) as caught:
        Connection(config.model_copy(update={"broker": address}), "deaf", subscription=wish).connect(5)
    assert caught.value.found == "not authorized"
    assert not [thread for thread in threading.enumerate() if "deaf" in thread.name]


def test_a_refused_subscription_that_is_not_required_is_logged(config, caplog):
    wish = Subscription(("homeassistant/status",), lambda _: None, 1000, required=False)
    words = "refuses the subscription to homeassistant/status: Not authorized"
    with tcp_server(granting(0x87)) as address:
        connection = Connection(config.model_copy(update={"broker": address}), "publisher", subscription=wish)
        connection.connect(5)
        wait_until(lambda: words in caplog.text, "the warning")
        connection.close(0.1)


def test_births_that_are_too_large_for_the_broker_are_logged_and_not_sent(tmp_path, config, caplog):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 2000"]).start()
    births = {"births/large": b"x" * 2000, "births/small": b"x"}
    try:
        config = config.model_copy(update={"broker": broker.url})
        with Ear(broker.port, "births/#") as ear:
            connection = Connection(config, "client", births=births)
            connection.connect(5)
            ear.wait_for(lambda heard: [message.topic for message in heard] == ["births/small"], "the small one")
            assert connection.session == 1
            connection.close(1)
    finally:
        broker.stop()
    assert "births/large" in caplog.text


def test_a_refused_status_is_logged_once_with_its_topic(tmp_path, config, caplog):
    (tmp_path / "acl").write_text("topic read #\n")
    (tmp_path / "acl").chmod(0o600)
    broker = Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"]).start()
    words = f"refuses messages on {config.topics.status}: Not authorized"
    try:
        with connected(config.model_copy(update={"broker": broker.url})) as connection:
            wait_until(lambda: words in caplog.text, "the warning")
            connection.announce(DeviceState.BUILDING)
            receipt = connection.fence(1)
            wait_until(lambda: receipt.outcome(1) is DeliveryOutcome.TAKEN, "the broker to answer")
    finally:
        broker.stop()
    assert caplog.text.count(words) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (b"\x87", "not authorized"),
        (b"\x9f", "connection rate exceeded"),
        (b"\x85", "client identifier not valid: client"),
    ],
)
def test_a_final_reason_of_mqtt_5_is_reported_without_trying_3_1_1(config, reply, words):
    levels = []

    def answer(peer: socket.socket) -> None:
        levels.append(peer.recv(1000)[8])
        peer.sendall(b"\x20\x03\x00" + reply + b"\x00")

    with tcp_server(answer) as address, pytest.raises(InputError) as caught:
        Connection(config.model_copy(update={"broker": address}), "client").connect(5)
    assert levels == [5]
    assert caught.value.found == words


def test_a_reported_takeover_is_logged_at_once(config, caplog):
    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8e\x00")
        peer.recv(1000)

    with tcp_server(answer) as address:
        connection = Connection(config.model_copy(update={"broker": address}), "twin", status_topic="a/status")
        connection.connect(5)
        wait_until(lambda: "another client with the id twin has taken over" in caplog.text, "the warning")
        connection.close(0.1)
    assert "--set mqtt.camera=NAME" in caplog.text
    assert "lost" not in caplog.text


def test_a_partly_refused_subscription_is_logged_and_kept(config, caplog):
    wish = Subscription(("a/+/score", "a/+/+/score"), lambda _: None, 1000)
    with tcp_server(granting(0x01, 0x87)) as address:
        connection = Connection(config.model_copy(update={"broker": address}), "half", subscription=wish)
        connection.connect(5)
        connection.close(0.1)
    assert "refuses the subscription to a/+/+/score: Not authorized" in caplog.text


def test_a_refused_subscription_that_is_not_required_is_logged_and_the_client_goes_on(config, caplog):
    wish = Subscription(("a/command",), lambda _: None, 1000, required=False, as_published=True)
    with tcp_server(granting(0x87)) as address:
        connection = Connection(config.model_copy(update={"broker": address}), "half", subscription=wish)
        connection.connect(5)
        assert connection.session == 1
        wait_until(lambda: "refuses the subscription to a/command: Not authorized" in caplog.text, "the log")
        connection.close(0.1)


def test_the_advice_for_a_broker_without_retained_messages_and_mqtt_3_1_1(tmp_path, config):
    """It closes the connection without a word."""
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "retain_available false"]).start()
    try:
        config = config.model_copy(update={"broker": broker.url, "protocol": "v3.1.1"})
        with pytest.raises(InputError, match="closed without an answer") as caught:
            Connection(config, "client", status_topic=config.topics.status).connect(5)
        assert "mqtt.protocol=auto" in caught.value.advice
    finally:
        broker.stop()


@pytest.mark.parametrize("name", ["joe\n", "\x1b", "\udce9"])
def test_a_user_name_that_mqtt_forbids_is_refused(config, monkeypatch, name):
    monkeypatch.setenv(USERNAME, name)
    with pytest.raises(InputError, match=USERNAME):
        Connection(config, "client")

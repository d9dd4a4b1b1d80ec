"""Commands through a real broker, to a handler that keeps them."""

from __future__ import annotations

import json
import queue
import threading
import time
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import cast
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import Ear, Mosquitto, payloads, wait_until
from paho.mqtt.client import MQTTMessage
from paho.mqtt.enums import MQTTProtocolVersion

from edge_occ.common.clock import ManualClock
from edge_occ.common.errors import InputError
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.commands.answers import CommandStatus, RequestOutcome
from edge_occ.mqtt.commands.handler import MemoryHandler
from edge_occ.mqtt.commands.inbox import MAX_WAITING, Arrival
from edge_occ.mqtt.commands.replies import Replies
from edge_occ.mqtt.commands.service import CommandChannel, CommandService
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.topics import Topics


@contextmanager
def serving(config, handler, enabled=("rearm", "mute"), start=True):
    service, connections = CommandService(enabled), []
    for camera in ("left", "right"):
        topics = Topics(config.prefix, config.device, camera)
        channel = service.open(topics)
        connection = Connection(
            config, f"test:{config.device}:{camera}", status_topic=topics.status, subscription=channel.subscription
        )
        channel.serve(handler, Replies(connection, topics, service.stopped))
        connection.connect(config.connect_timeout, required=False)
        connections.append(connection)
    if start:
        service.start()
    try:
        yield service
    finally:
        service.close()
        for connection in connections:
            connection.close(5.0)


@pytest.fixture
def handler():
    return MemoryHandler()


@pytest.fixture
def left(config):
    return Topics(config.prefix, config.device, "left")


def send(ear, topics, retain=False, **content):
    content = {"id": uuid4().hex, "command": "rearm", **content}
    ear.send(topics.command, json.dumps(content).encode(), retain=retain)
    return content["id"]


def answers(ear, count):
    return payloads(ear.wait_for_kind("ack", count))


def test_a_request_is_carried_out_and_answered_on_its_camera_s_topic(config, ear, handler, left):
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        id_ = send(ear, left)
        (answer,) = answers(ear, 1)
    assert answer.pop("ts") > 1_700_000_000_000
    assert answer == {
        "schema": "edge-occ/command-ack/1", "device": config.device, "camera": "left", "id": id_, "command": "rearm",
        "status": "done", "reason": "rearm",
    }  # fmt: skip
    (message,) = ear.of("ack")
    assert (message.topic, message.qos, message.retain) == (left.command_ack, 1, False)
    assert handler.ticks > 0


def test_a_request_under_way_has_a_second_answer_which_is_the_one_that_is_remembered(config, ear, left):
    handler = MemoryHandler(lambda request: RequestOutcome.accepted("soon"))
    payload = b'{"id":"a","command":"rearm"}'
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        ear.send(left.command, payload)
        assert [answer["status"] for answer in answers(ear, 1)] == ["accepted"]
        handler.later = [(handler.requests[0], lambda: RequestOutcome.done("at last"))]
        second = answers(ear, 2)[1]
        ear.send(left.command, payload)
        again = answers(ear, 3)[2]
    assert (second["id"], second["status"], second["reason"]) == ("a", "done", "at last")
    assert again == second
    assert len(handler.requests) == 1


@pytest.mark.parametrize(
    ("error", "reason"), [(CancelledError(), "it was given up"), (ValueError(), "an internal error")]
)
def test_an_end_that_fails_is_answered_too(config, ear, left, error, reason):
    def fail():
        raise error

    handler = MemoryHandler(lambda request: RequestOutcome.accepted())
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        ear.send(left.command, b'{"id":"a","command":"rearm"}')
        answers(ear, 1)
        handler.later = [(handler.requests[0], fail)]
        second = answers(ear, 2)[1]
    assert second["status"] == "failed"
    assert second["reason"].startswith(reason)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{", "malformed"),
        (b"x" * 4097, "4097 bytes"),
        (b"x" * 60_000, "60000 bytes"),
        (b'{"id":"+/#","command":"rearm"}', "malformed: id"),
        (b'{"id":"a/b","command":"rearm"}', "malformed: id"),
        (b'{"id":"a","command":"rearm","topic":"other"}', "malformed: topic"),
        (b'{"id":"a","command":"reboot"}', "unknown command"),
        (b'{"id":"a","command":"reload"}', "not enabled"),
        (b'{"id":"a","command":"recalibrate","frames":-1}', "malformed: frames"),
    ],
)
def test_anything_else_is_refused_with_a_reason(config, ear, handler, left, payload, reason):
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        ear.send(left.command, payload)
        (answer,) = answers(ear, 1)
    assert (answer["status"], handler.requests) == ("refused", [])
    assert answer["reason"].startswith(reason)
    assert {message.topic for message in ear.heard if message.topic != left.command} == {
        left.command_ack, left.status, Topics(config.prefix, config.device, "right").status,
    }  # fmt: skip


def test_a_repeated_request_gets_the_same_answer_and_is_not_done_again(config, ear, handler, left):
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        id_ = send(ear, left)
        ear.send(left.command, json.dumps({"command": "rearm", "id": id_}, indent=4).encode())
        first, second = answers(ear, 2)
        assert first == second
        send(ear, left, id=id_, command="mute", seconds=5)
        other = answers(ear, 3)[-1]
        assert (other["status"], other["reason"]) == ("refused", "the id was used before, for another request")
        # Each camera has requests of its own.
        send(ear, Topics(config.prefix, config.device, "right"), id=id_)
        assert answers(ear, 4)[-1]["status"] == "done"
    assert len(handler.requests) == 2


def test_a_replay_after_a_reconnection_is_not_done_again(own_broker, config, handler, left):
    config = config.model_copy(update={"broker": own_broker.url})
    with serving(config, handler):
        with Ear(own_broker.port, f"{config.prefix}/{config.device}/#") as ear:
            ear.wait_for_state("online", 2)
            id_ = send(ear, left)
            answers(ear, 1)
        own_broker.stop()
        own_broker.start()
        with Ear(own_broker.port, f"{config.prefix}/{config.device}/#") as ear:
            ear.wait_for_state("online", 2)
            send(ear, left, id=id_)
            send(ear, left)
            again, new = answers(ear, 2)
    assert (again["id"], again["status"], new["status"]) == (id_, "done", "done")
    assert len(handler.requests) == 2


def test_a_retained_request_is_never_carried_out(config, ear, handler, left):
    """A stale command must not run at the next start; with MQTT 5 not even when it is sent."""
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        id_ = send(ear, left, retain=True)
        (live,) = answers(ear, 1)
    with serving(config, handler):
        stale = answers(ear, 2)[-1]
        ear.send(left.command, b"", retain=True)
    for answer in (live, stale):
        assert (answer["id"], answer["status"]) == (id_, "refused")
        assert answer["reason"].startswith("retained")
    assert handler.requests == []


def test_with_mqtt_3_a_retained_request_of_earlier_is_refused(broker, config, handler, left):
    old = config.model_copy(update={"protocol": "v3.1.1"})
    topic_filter = f"{config.prefix}/{config.device}/#"
    with Ear(broker.port, topic_filter, MQTTProtocolVersion.MQTTv311) as ear:
        id_ = send(ear, left, retain=True)
        with serving(old, handler):
            (answer,) = answers(ear, 1)
            ear.send(left.command, b"", retain=True)
            send(ear, left)
            assert answers(ear, 3)[-1]["status"] == "done"
    assert (answer["id"], answer["status"]) == (id_, "refused")


def test_what_was_sent_while_the_inspector_was_away_does_not_run_later(config, ear, handler, left):
    send(ear, left)
    with serving(config, handler):
        ear.wait_for_state("online", 2)
        id_ = send(ear, left)
        answers(ear, 1)
    assert [request.id for request in handler.requests] == [id_]


def test_more_than_ten_a_second_are_refused(config, ear, handler, left):
    with serving(config, handler, start=False) as service:
        ear.wait_for_state("online", 2)
        ids = [send(ear, left) for _ in range(MAX_WAITING)]
        service.start()
        last = answers(ear, 12)
    assert len(ids) > len(handler.requests) >= 10
    refused = [answer for answer in payloads(ear.of("ack")) if answer["status"] == "refused"]
    assert {answer["reason"] for answer in refused} == {"more than 10 requests a second"}
    assert len(refused) >= 1
    assert last[0]["status"] == "done"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InputError("a bundle", "none", "copy it"), "expected a bundle; found none; copy it"),
        (CancelledError(), "it was given up, or the run ends"),
        (ZeroDivisionError("secret"), "an internal error: ZeroDivisionError; see the log of the inspector"),
    ],
)
def test_an_error_is_an_answer_and_the_next_request_is_carried_out(config, ear, left, error, reason):
    def act(request):
        if request.command == "mute":
            raise error
        return RequestOutcome.done()

    with serving(config, MemoryHandler(act)):
        ear.wait_for_state("online", 2)
        send(ear, left, command="mute", seconds=1)
        send(ear, left)
        failed, done = answers(ear, 2)
    assert (failed["status"], failed["reason"]) == (CommandStatus.FAILED.value, reason)
    assert done["status"] == "done"


def test_a_slow_command_does_not_hold_up_the_connection(config, ear, left):
    begun, go_on = threading.Event(), threading.Event()

    def act(request):
        begun.set()
        assert go_on.wait(10)
        return RequestOutcome.done()

    with serving(config, MemoryHandler(act)):
        ear.wait_for_state("online", 2)
        send(ear, left)
        assert begun.wait(10)
        id_ = send(ear, left)  # confirmed by the network thread meanwhile
        go_on.set()
        assert answers(ear, 2)[-1]["id"] == id_


def test_without_an_enabled_command_there_is_no_subscription_and_no_thread():
    service, before = CommandService(MqttConfig().commands), threading.active_count()
    assert service.open(Topics()) is None
    service.start()
    assert threading.active_count() == before
    service.close()


class Published:
    """A connection that keeps what it publishes."""

    session = 1

    def __init__(self) -> None:
        self.answers: list[tuple[str, dict]] = []

    def publish_confirmed(self, session: int, topic: str, payload: bytes) -> None:
        self.answers.append((topic, json.loads(payload)))


@pytest.mark.parametrize(("seconds", "status"), [(59.0, "done"), (61.0, "refused")])
def test_a_request_that_waited_long_is_refused(handler, seconds, status):
    """As behind the building of an engine: nobody expects it any more."""
    clock, arrivals, published = ManualClock(), queue.Queue(), Published()
    channel = CommandChannel(Topics(), ("rearm",), arrivals, clock)
    channel.serve(handler, Replies(cast(Connection, published), channel.topics, threading.Event()))
    message = MQTTMessage(topic=channel.topics.command.encode())
    message.payload = b'{"id":"a","command":"rearm"}'
    channel.subscription.on_message(message)
    clock.advance(seconds)
    channel.take(arrivals.get_nowait())
    ((topic, answer),) = published.answers
    assert (topic, answer["status"]) == (channel.topics.command_ack, status)


def test_a_flood_is_dropped_and_costs_no_memory(handler):
    clock, arrivals = ManualClock(), queue.Queue(MAX_WAITING)
    channel = CommandChannel(Topics(), ("rearm",), arrivals, clock)
    message = MQTTMessage(topic=channel.topics.command.encode())
    message.payload = b"x" * 4096
    for _ in range(1000):
        channel.subscription.on_message(message)
    assert arrivals.qsize() == 20
    for _ in range(1000):
        clock.advance(1.0)
        channel.subscription.on_message(message)
    assert arrivals.qsize() == MAX_WAITING


@given(st.text())
def test_no_id_changes_a_topic(id_):
    published = Published()
    channel = CommandChannel(Topics("plant", "d", "left"), ("rearm",), queue.Queue())
    channel.serve(MemoryHandler(), Replies(cast(Connection, published), channel.topics, threading.Event()))
    payload = json.dumps({"id": id_, "command": "rearm"}).encode()
    channel.take(Arrival(channel, payload, retained=False, too_many=False, at=time.monotonic()))
    ((topic, answer),) = published.answers
    assert topic == "plant/d/left/command/ack"
    assert answer["id"] in ("", id_)


def test_a_refused_answer_is_logged(config, handler, tmp_path, caplog):
    """The access control list lets the device read its commands and not answer them."""
    (tmp_path / "acl").write_text("topic read #\ntopic write plant/line3/edge-occ/+/+/command\n")
    strict = Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"]).start()
    own = config.model_copy(update={"broker": strict.url})
    left = Topics(own.prefix, own.device, "left")
    with serving(own, handler), Ear(strict.port, left.command) as ear:
        send(ear, left)
        send(ear, left)
        wait_until(lambda: f"refuses messages on {left.command_ack}" in caplog.text, "the log")
    strict.stop()
    assert len(handler.requests) == 2

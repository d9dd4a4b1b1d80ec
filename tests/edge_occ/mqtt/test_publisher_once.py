"""Event messages with QoS 2, in a session that the broker keeps: each arrives once."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import pytest
from mqtt_helpers import PATIENCE, Ear, Link, Mosquitto, inspection, payloads, render, wait_until
from pydantic import ValidationError

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.mqtt.publisher import Publisher


@pytest.fixture
def once(config):
    return config.model_copy(update={"event_qos": 2, "session_expiry": 60})


def all_confirmed(publisher: Publisher, count: int) -> bool:
    return publisher.summary.published.get("event") == count


def frames(ear: Ear) -> list[int]:
    return [event["frame"] for event in payloads(ear.of("event"))]


@pytest.mark.parametrize("direction", ["hold", "hold_answers"])
def test_a_connection_that_breaks_repeats_nothing_and_loses_nothing(broker, once, ear, direction):
    with Link(broker.port) as link, Publisher(once.model_copy(update={"broker": link.url}), render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
        for confirmed in (10, 20, 30):
            getattr(link, direction)()
            for index in range(confirmed - 10, confirmed):
                publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
            time.sleep(0.1)  # some are at the broker, and some of its answers on their way
            link.cut()
            link.release()
            wait_until(partial(all_confirmed, publisher, confirmed), "all to be confirmed")
    ear.wait_for_state("offline")
    assert frames(ear) == list(range(30))


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.long)])
def test_a_broker_that_is_restarted_under_load_repeats_nothing_and_loses_nothing(tmp_path, once, count):
    stored = ["allow_anonymous true", "persistence true", f"persistence_location {tmp_path}/", "max_queued_messages 0"]
    broker = Mosquitto(tmp_path, stored).start()
    once = once.model_copy(update={"broker": broker.url, "heatmap_hz": 0})
    try:
        with Ear(broker.port, f"{once.prefix}/#", lasting=True, qos=2) as ear, Publisher(once, render) as publisher:
            for index in range(count):
                publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
                if index % 4000 == 500:
                    broker.stop()
                    broker.start()
                time.sleep(0.0005)
            wait_until(partial(all_confirmed, publisher, count), "all to be confirmed", 120)
            wait_until(lambda: len(frames(ear)) >= count, "all to arrive", 30)
        assert frames(ear) == list(range(count))
    finally:
        broker.stop()


def test_a_broker_that_has_forgotten_the_session_gets_what_is_unconfirmed_again(own_broker: Mosquitto, once):
    with Link(own_broker.port) as link, Publisher(once.model_copy(update={"broker": link.url}), render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
        link.hold_answers()
        for index in range(15):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE, captured=time.monotonic() - 6))
        time.sleep(0.1)
        own_broker.stop()
        own_broker.start()
        with Ear(own_broker.port, f"{once.prefix}/#") as ear:
            link.cut()
            link.release()
            wait_until(partial(all_confirmed, publisher, 15), "all to be confirmed")
            ear.wait_for_kind("event", 15)
    assert frames(ear) == list(range(15))
    assert all(event["historical"] for event in payloads(ear.of("event")))


def test_the_state_that_was_on_its_way_does_not_replace_the_present_one(broker, once, ear):
    with Link(broker.port) as link, Publisher(once.model_copy(update={"broker": link.url}), render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
        link.hold()
        publisher.announce(DeviceState.FAULT, "lens covered")
        time.sleep(0.05)
        link.cut()
        publisher.announce(DeviceState.ONLINE)
        link.release()
        ear.wait_for_state("fault")
        ear.wait_for(lambda _: payloads(ear.of("status"))[-1]["state"] == "online", "the present state")
        with Ear(broker.port, once.topics.status) as late:
            late.wait_for_state("online")
            assert late.heard[0].retain
            assert b"fault" not in late.heard[0].payload


def test_a_session_that_a_crash_has_left_swallows_no_message(broker, once, ear):
    """The broker holds messages of the process before under ids that this process gives to others."""
    script = (
        "import sys; from edge_occ.mqtt.config import MqttConfig\n"
        "from edge_occ.mqtt.client.connection import Connection\n"
        "config = MqttConfig(broker=sys.argv[1], device='d', event_qos=2, session_expiry=60)\n"
        "connection = Connection(config, sys.argv[2], status_topic='left/status')\n"
        "connection.connect(10); print(connection.session, flush=True); sys.stdin.readline()\n"
        "for index in range(9): connection.publish_confirmed(1, 'left/event', b'x', once=True)\n"
        "print('sent', flush=True); sys.stdin.read()"
    )
    with Link(broker.port) as link, Ear(broker.port, "left/#") as left:
        arguments = [sys.executable, "-c", script, link.url, once.device]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline() == "1\n"
            link.hold_answers()
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "sent\n"
            time.sleep(0.1)
            process.kill()
        link.cut()
        left.wait_for_state("offline")
    connection = Connection(once, once.device, status_topic=once.topics.status)
    connection.connect(PATIENCE)
    for index in range(20):
        assert connection.publish_confirmed(1, once.topics.event, b'{"frame":%d}' % index, once=True)
    ear.wait_for_kind("event", 20)
    connection.close(1.0)
    assert frames(ear) == list(range(20))


def test_a_broker_that_keeps_no_session_is_reported_and_gets_the_events(tmp_path, once, caplog):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_qos 1"]).start()
    try:
        with Ear(broker.port, f"{once.prefix}/#") as ear:
            with Publisher(once.model_copy(update={"broker": broker.url}), render) as publisher:
                publisher.publish(inspection(0, 2.0, event=Phase.START))
            ear.wait_for_kind("event")
        assert publisher.summary.published["event"] == 1
        assert "events may arrive twice" in caplog.text
    finally:
        broker.stop()


@pytest.mark.parametrize("lacks", [{}, {"session_expiry": 60, "protocol": "v3.1.1"}])
def test_without_a_session_that_is_kept_the_setting_is_refused(lacks):
    with pytest.raises(ValidationError, match="session_expiry"):
        MqttConfig(event_qos=2, **lacks)

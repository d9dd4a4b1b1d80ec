"""A broker that is killed: what it had confirmed may be lost with it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from pathlib import Path

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, inspection, payloads, render, wait_until

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payloads import Event
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.topics import EVENT
from edge_occ.mqtt.watch import Watcher


@pytest.fixture
def lasting(config: MqttConfig) -> MqttConfig:
    return config.model_copy(update={"session_expiry": 60, "repeat_seconds": 30.0, "heatmap_hz": 0})


def publish(publisher: Publisher, indices: range, confirmed: int) -> None:
    for index in indices:
        publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
    wait_until(lambda: publisher.summary.published.get("event") == confirmed, "all to be confirmed")


def frames(ear: Ear) -> list[int]:
    return [event["frame"] for event in payloads(ear.of("event"))]


@pytest.mark.parametrize("qos", [1, 2])
def test_what_it_confirmed_and_did_not_pass_on_is_sent_again(own_broker: Mosquitto, lasting, caplog, qos):
    caplog.set_level(logging.INFO)
    lasting = lasting.model_copy(update={"event_qos": qos})
    with Link(own_broker.port) as from_device, Link(own_broker.port) as to_subscriber:
        config = lasting.model_copy(update={"broker": from_device.url})
        with Ear(to_subscriber.port, f"{lasting.prefix}/#") as ear, Publisher(config, render) as publisher:
            publish(publisher, range(5), 5)
            ear.wait_for_kind("event", 5)
            to_subscriber.hold_answers()
            publish(publisher, range(5, 40), 40)
            own_broker.stop(kill=True)
            to_subscriber.cut()
            to_subscriber.release()
            from_device.hold()  # the subscriber comes back first
            own_broker.start()
            ear.wait_for_resubscription()
            from_device.release()
            publish(publisher, range(40, 45), 45)
            ear.wait_for_kind("event", 50)
    assert frames(ear) == [*range(5), *range(45)]
    events = payloads(ear.of("event"))
    assert [event["historical"] for event in events[5:45]] == [True] * 40
    assert "40 event messages that the broker had confirmed are sent again" in caplog.text
    assert publisher.summary.published["event"] == 45


@pytest.mark.long
def test_ten_thousand_events_arrive_through_a_broker_that_is_killed_under_load(tmp_path: Path, lasting):
    """At a subscriber some twice, in a watcher each once, in order."""
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_queued_messages 0"]).start()
    config = lasting.model_copy(update={"broker": broker.url, "session_expiry": 0})
    seen: list[int] = []

    def watch() -> None:
        seen.extend(received.message.frame for received in watcher if isinstance(received.message, Event))

    stop = threading.Event()
    with (
        Link(broker.port) as link,
        Ear(broker.port, f"{config.prefix}/#") as ear,
        Watcher(config, kinds=[EVENT], stop=stop) as watcher,
        Publisher(config.model_copy(update={"broker": link.url}), render) as publisher,
    ):
        watching = threading.Thread(target=watch)
        watching.start()
        for index in range(10_000):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
            if index % 4000 == 2000:
                session = watcher.session
                broker.stop(kill=True)
                link.hold()
                broker.start()
                ear.wait_for_resubscription()
                wait_until(lambda: watcher.session > session, "the watcher to be back")  # noqa: B023
                link.release()
            time.sleep(0.0005)
        wait_until(lambda: publisher.summary.published.get("event") == 10_000, "all to be confirmed", 120)
        wait_until(lambda: len({*seen}) == len({*frames(ear)}) == 10_000, "all to arrive", 60)
        stop.set()
        watching.join()
        broker.stop()
    assert list(dict.fromkeys(frames(ear))) == list(range(10_000))
    assert seen == list(range(10_000))
    assert publisher.lost_events == 0


def test_it_is_killed_again_while_they_are_sent_again(own_broker: Mosquitto, lasting, caplog):
    caplog.set_level(logging.INFO)
    with Link(own_broker.port) as link, Publisher(lasting.model_copy(update={"broker": link.url}), render) as publisher:
        publish(publisher, range(30), 30)
        own_broker.stop(kill=True)
        own_broker.start()
        wait_until(lambda: "30 event messages" in caplog.text, "the first repetition")
        link.hold_answers()  # some of them are confirmed, and some not
        own_broker.stop(kill=True)
        link.hold()
        own_broker.start()
        with Ear(own_broker.port, f"{lasting.prefix}/#") as ear:
            link.release()
            publish(publisher, range(30, 40), 40)
            ear.wait_for_kind("event", 40)
    assert frames(ear) == [*range(40)]


@pytest.mark.parametrize(
    ("changes", "kill"),
    [({"repeat_seconds": 0}, True), ({"repeat_seconds": 0, "session_expiry": 0}, False), ({}, False)],
    ids=["killed, not asked for", "broken link, not asked for", "broken link, session kept"],
)
def test_nothing_is_sent_again_unless_asked_for_or_in_a_kept_session(own_broker: Mosquitto, lasting, changes, kill):
    lasting = lasting.model_copy(update=changes)
    with Link(own_broker.port) as link, Ear(own_broker.port, f"{lasting.prefix}/#") as ear:
        with Publisher(lasting.model_copy(update={"broker": link.url}), render) as publisher:
            publish(publisher, range(10), 10)
            ear.wait_for_kind("event", 10)
            if kill:
                own_broker.stop(kill=True)
                own_broker.start()
                ear.wait_for_resubscription()
            link.cut()
            publish(publisher, range(10, 20), 20)
            ear.wait_for_kind("event", 20)
        ear.wait_for_state("offline")
    assert frames(ear) == [*range(20)]


def test_a_broker_that_keeps_sessions_on_disk_and_ends_in_order_gets_nothing_again(tmp_path: Path, lasting, caplog):
    caplog.set_level(logging.INFO)
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "persistence true", f"persistence_location {tmp_path}/"])
    broker.start()
    try:
        with Ear(broker.port, f"{lasting.prefix}/#", lasting=True) as ear:
            with Publisher(lasting.model_copy(update={"broker": broker.url}), render) as publisher:
                publish(publisher, range(10), 10)
                ear.wait_for_kind("event", 10)
                broker.stop()
                broker.start()
                publish(publisher, range(10, 20), 20)
            ear.wait_for_state("offline")
        # It may itself send again what this subscriber had not confirmed.
        assert {*frames(ear)} == {*range(20)}
        assert not any(event["historical"] for event in payloads(ear.of("event")) if event["frame"] < 10)
        assert "sent again" not in caplog.text
    finally:
        broker.stop()


def test_without_a_session_it_is_sent_again_after_every_lost_connection(own_broker: Mosquitto, lasting):
    lasting = lasting.model_copy(update={"session_expiry": 0})
    with Link(own_broker.port) as link, Ear(own_broker.port, f"{lasting.prefix}/#") as ear:
        with Publisher(lasting.model_copy(update={"broker": link.url}), render) as publisher:
            publish(publisher, range(10), 10)
            link.cut()
            publish(publisher, range(10, 20), 20)
        ear.wait_for_state("offline", 2)
    assert frames(ear) == [*range(10), *range(20)]


def test_what_was_confirmed_long_ago_is_not_sent_again(own_broker: Mosquitto, lasting):
    lasting = lasting.model_copy(update={"repeat_seconds": 0.5})
    with Publisher(lasting.model_copy(update={"broker": own_broker.url}), render) as publisher:
        publish(publisher, range(10), 10)
        time.sleep(0.7)
        publish(publisher, range(10, 15), 15)
        own_broker.stop(kill=True)
        time.sleep(0.7)  # without a connection no time passes
        own_broker.start()
        with Ear(own_broker.port, f"{lasting.prefix}/#") as ear:
            publish(publisher, range(15, 20), 20)
            ear.wait_for(lambda _: 19 in frames(ear), "the last event")
    assert not {*frames(ear)} & {*range(10)}
    assert all(a < b for a, b in itertools.pairwise(frames(ear)))

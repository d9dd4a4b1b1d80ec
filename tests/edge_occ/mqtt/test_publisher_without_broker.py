"""Starts without a broker, brokers that come and go, and servers that are none."""

from __future__ import annotations

import time
from collections.abc import Iterable

import pytest
from mqtt_helpers import PATIENCE, Ear, Link, Mosquitto, free_port, inspection, payloads, render, tcp_server, wait_until

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publisher import Publisher

START, UPDATE, END = Phase


def publish_events(publisher: Publisher, frames: Iterable[int]) -> None:
    """One message a frame; events of five, which begin at multiples of five."""
    for frame in frames:
        step = frame % 5
        phase = START if step == 0 else END if step == 4 else UPDATE
        publisher.publish(inspection(frame, 2.0, event=phase, of=f"event-{frame - step}"))


def frames_of(ear: Ear) -> list[int]:
    return [event["frame"] for event in payloads(ear.of("event"))]


@pytest.mark.parametrize("protocol", ["auto", "v3.1.1"])
def test_events_before_the_broker_answers_arrive_in_order_and_are_historical(broker, config, ear, caplog, protocol):
    port = free_port()
    config = config.model_copy(update={"broker": f"mqtt://127.0.0.1:{port}", "protocol": protocol})
    with Publisher(config, render) as publisher:
        (line,) = (record.getMessage() for record in caplog.records)
        assert f"no MQTT broker at {config.broker}: Connection refused" in line
        publish_events(publisher, range(100))
        assert publisher.summary.published == {}
        with Link(broker.port, port):
            wait_until(lambda: publisher.summary.published.get("event") == 100, "the events to arrive")
            publish_events(publisher, range(100, 105))
            wait_until(lambda: publisher.summary.published.get("event") == 105, "the last event to arrive")
            publisher.close()
    ear.wait_for_state("offline")
    events = payloads(ear.of("event"))
    assert [event["frame"] for event in events] == list(range(105))
    assert [event["frame"] for event in events if not event["historical"]] == list(range(100, 105))
    assert publisher.kept_events[0] == publisher.lost_events == 0


def test_nothing_is_lost_nor_disordered_when_the_broker_is_restarted_under_load(tmp_path, config):
    stored = ["allow_anonymous true", "persistence true", f"persistence_location {tmp_path}/", "max_queued_messages 0"]
    broker = Mosquitto(tmp_path, stored).start()
    config = config.model_copy(update={"broker": broker.url, "heatmap_hz": 0})
    try:
        with Ear(broker.port, f"{config.prefix}/#", lasting=True) as ear:
            with Publisher(config, render) as publisher:
                for frame in range(500):
                    publish_events(publisher, [frame])
                    if frame in (150, 350):
                        broker.stop()
                    elif frame in (250, 450):
                        broker.start()
                    time.sleep(0.002)
                wait_until(lambda: publisher.summary.published.get("event") == 500, "the events to be confirmed")
            ear.wait_for(lambda _: len({*frames_of(ear)}) == 500, "every event")
    finally:
        broker.stop()
    first_arrivals = list(dict.fromkeys(frames_of(ear)))
    assert first_arrivals == list(range(500))
    assert publisher.lost_events == publisher.kept_events[0] == 0


def test_a_server_that_never_answers_delays_the_start_by_the_timeout_only_and_events_are_kept(config, caplog):
    with tcp_server(lambda peer: [peer.recv(1000), peer.recv(1000)]) as address:
        config = config.model_copy(update={"broker": address, "connect_timeout": 0.3})
        start = time.monotonic()
        with Publisher(config, render) as publisher:
            assert 0.3 <= time.monotonic() - start < PATIENCE
            publish_events(publisher, range(10))
            publisher.close(0.1)
    assert publisher.kept_events[0] == 10
    assert "no answer to MQTT within 0.3 s" in caplog.text


def test_events_are_kept_before_a_server_that_closes_every_connection(config, caplog):
    with (
        tcp_server(lambda _: None) as address,
        Publisher(config.model_copy(update={"broker": address}), render) as publisher,
    ):
        publish_events(publisher, range(10))
        publisher.close(0.1)
    assert publisher.kept_events[0] == 10
    assert "inspecting without it" in caplog.text


def test_an_unknown_host_does_not_stop_the_start(config, caplog):
    config = config.model_copy(update={"broker": "mqtt://no-such-host.invalid", "connect_timeout": 5})
    with Publisher(config, render) as publisher:
        publish_events(publisher, range(10))
        publisher.close(0.1)
    assert publisher.kept_events[0] == 10
    assert "inspecting without it" in caplog.text


def test_an_outage_longer_than_the_budget_keeps_the_latest_events_whole(broker, config, ear):
    port = free_port()
    config = config.model_copy(update={"broker": f"mqtt://127.0.0.1:{port}", "outbox_mb": 0.05})
    with Publisher(config, render) as publisher:
        publish_events(publisher, range(1000))
        dropped = publisher.summary.dropped["event"]
        with Link(broker.port, port):
            wait_until(lambda: publisher.summary.published.get("event") == 1000 - dropped, "the rest to arrive")
            publisher.close()
    ear.wait_for_state("offline")
    events = payloads(ear.of("event"))
    assert len(events) == 1000 - dropped > 20
    assert [event["phase"] for event in events] == ["start", "end"] * (len(events) // 2)
    frames = [event["frame"] for event in events]
    assert frames[-1] == 999
    assert frames == [frame for frame in range(frames[0], 1000) if frame % 5 in (0, 4)]
    assert publisher.lost_events == dropped
    stats = payloads(ear.of("stats"))[-1]
    assert (stats["events_dropped"], stats["outbox_bytes"], stats["outbox_failed"]) == (dropped, 0, 0)


def test_the_statistics_have_the_bytes_that_wait(broker, config, ear):
    def waiting():
        return [of["outbox_bytes"] for of in payloads(ear.of("stats")) if of["queue_event_depth"] == 5]

    with Link(broker.port) as link:
        config = config.model_copy(update={"broker": link.url, "heatmap_hz": 0, "stats_seconds": 0.5})
        with Publisher(config, render) as publisher:
            wait_until(lambda: publisher.summary.published.get("stats") == 1, "the first statistics")
            link.hold_answers()
            publish_events(publisher, range(5))
            ear.wait_for(lambda _: any(waiting()), "statistics of the events")
            link.release()
    assert waiting()[0] > sum(len(message.payload) for message in ear.of("event"))

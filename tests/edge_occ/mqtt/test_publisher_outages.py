"""Publishing over links and brokers that are slow, frozen or away."""

from __future__ import annotations

import time

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, inspection, payloads, render, wait_until

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publisher import Publisher


def arrivals(ear: Ear) -> list[str]:
    """Kinds of the messages received, in order."""
    return [message.topic.rsplit("/", 1)[1] for message in ear.heard]


def test_publishing_goes_on_while_the_broker_is_frozen_and_memory_is_bounded(own_broker: Mosquitto, config):
    config = config.model_copy(update={"broker": own_broker.url, "outbox_mb": 1})
    with Publisher(config, lambda _: b"\xff\xd8\xff" + bytes(4_000_000)) as publisher:
        own_broker.pause()
        for index in range(3000):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
        assert publisher.summary.dropped["event"] >= 1500
        assert publisher.summary.dropped["score"] >= 2900
        own_broker.resume()
    assert publisher.kept_events[0] == 0
    summary = publisher.summary
    assert summary.frames == 3000
    assert summary.published["score"] + summary.dropped["score"] == 3000
    assert summary.published["event"] + summary.dropped["event"] == 3000


@pytest.mark.parametrize("protocol", ["v5", "v3.1.1"])
def test_events_overtake_scores_and_heatmaps_on_a_slow_link(broker, config, ear, protocol):
    """Only a few messages are in flight before an event, however many frames were inspected meanwhile."""
    with Link(broker.port) as link:
        config = config.model_copy(update={"broker": link.url, "protocol": protocol, "heatmap_hz": 1000})
        with Publisher(config, lambda shown: render(shown) + bytes(20_000)) as publisher:
            publisher.publish(inspection(0))
            wait_until(lambda: publisher.summary.published.get("heatmap") == 1, "the link to be idle")
            link.hold()
            for index in range(1, 601):
                publisher.publish(inspection(index))
                time.sleep(0.001)  # the sender may hand over what it likes
            before = len(ear.heard)
            publisher.publish(inspection(601, 2.0, event=Phase.START))
            link.release()
            ear.wait_for_kind("event")
            wait_until(lambda: publisher.summary.published.get("event") == 1, "the event to be confirmed")
    ear.wait_for_state("offline")
    order = arrivals(ear)
    ahead = order[before : order.index("event")]
    assert ahead.count("score") <= 16
    assert ahead.count("heatmap") <= 1
    assert payloads(ear.of("score"))[-1]["frame"] == 601
    summary = publisher.summary
    assert summary.published["score"] == len(ear.of("score"))
    assert summary.published["score"] + summary.dropped["score"] == 602


def test_messages_lost_by_a_broken_link_are_counted_exactly(broker, config, ear):
    with Link(broker.port) as link:
        config = config.model_copy(update={"broker": link.url, "heatmap_hz": 1000, "stats_seconds": 3600})
        with Publisher(config, render) as publisher:
            publisher.publish(inspection(0))
            wait_until(lambda: {*publisher.summary.published} == {"score", "heatmap", "stats"}, "the link to be idle")
            link.hold()
            for index in range(1, 401):
                publisher.publish(inspection(index))
                time.sleep(0.0005)
            link.cut()
            link.release()
            ear.wait_for_state("online", 2)
            publisher.publish(inspection(401))
            wait_until(lambda: publisher.summary.published["heatmap"] == 2, "the last frame to arrive")
    ear.wait_for_state("offline", 2)
    summary = publisher.summary
    for kind in ("score", "heatmap"):
        assert summary.published[kind] == len(ear.of(kind))
    assert summary.published["score"] + summary.dropped["score"] == 402
    assert summary.published["heatmap"] + summary.dropped["heatmap"] + summary.superseded == 402


def test_stats_have_the_number_and_age_of_unconfirmed_messages(broker, config, ear):
    with Link(broker.port) as link:
        config = config.model_copy(update={"broker": link.url, "heatmap_hz": 0, "stats_seconds": 1.0})
        with Publisher(config, render) as publisher:
            wait_until(lambda: publisher.summary.published.get("stats") == 1, "the first statistics")
            link.hold_answers()
            for index in range(30):
                shown = inspection(index, 2.0, event=Phase.UPDATE, captured=time.monotonic() - 100)
                publisher.publish(shown)
            stats = payloads(ear.wait_for_kind("stats", 2))[-1]
            link.release()
        ear.wait_for_state("offline")
        last = payloads(ear.of("stats"))[-1]
    assert stats["queue_event_depth"] == stats["queues"]["event"]["depth"] == 30
    assert stats["queue_score_depth"] == stats["queues"]["score"]["depth"] == 30
    assert 100 <= stats["queue_event_age_s"] < 200
    assert 100 <= stats["queue_score_age_s"] < 200
    assert [last[f"queue_{name}"] for name in ("event_depth", "event_age_s", "score_depth", "score_age_s")] == [0] * 4


def test_events_of_an_outage_are_kept_and_scores_are_not(broker, config, ear, caplog):
    with Link(broker.port) as link, Publisher(config.model_copy(update={"broker": link.url}), render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START))
        wait_until(lambda: {"event", "score"} <= {*publisher.summary.published}, "the first frame")
        link.hold()
        link.cut()
        ear.wait_for_state("offline")
        wait_until(lambda: "lost" in caplog.text, "the connection to be lost here too")
        for index in range(1, 101):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
        wait_until(lambda: publisher.summary.dropped.get("score") == 100, "the scores to be dropped")
        link.release()
        ear.wait_for_state("online", 2)
        publisher.publish(inspection(101, 2.0, event=Phase.END))
        wait_until(lambda: publisher.summary.published.get("event") == 102, "all events to be confirmed")
    events = payloads(ear.wait_for_kind("event", 102))
    assert [event["frame"] for event in events] == list(range(102))
    assert [event["frame"] for event in events if not event["historical"]] == [0, 101]
    assert publisher.lost_events == 0
    assert [score["frame"] for score in payloads(ear.of("score"))] == [0, 101]
    ear.wait_for_state("offline", 2)
    assert [status["state"] for status in payloads(ear.of("status"))] == ["online", "offline", "online", "offline"]


@pytest.mark.parametrize(("age", "historical"), [(0.0, False), (6.0, True)])
def test_events_unconfirmed_when_the_connection_broke_are_sent_again(broker, config, ear, age, historical):
    with Link(broker.port) as link, Publisher(config.model_copy(update={"broker": link.url}), render) as publisher:
        wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
        link.hold_answers()
        for index in range(20):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE, captured=time.monotonic() - age))
        ear.wait_for_kind("event", 10)
        link.cut()
        link.release()
        wait_until(lambda: publisher.summary.published.get("event") == 20, "all events to be confirmed")
    events = payloads(ear.wait_for_kind("event", 30))
    assert [event["frame"] for event in events] == [*range(10), *range(20)]
    assert all(event["historical"] is historical for event in events[:10])
    if historical:
        assert all(event["historical"] for event in events)


def test_an_event_that_waited_too_long_is_historical(config, ear):
    with Publisher(config, render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START, captured=time.monotonic() - 5.5))
        publisher.publish(inspection(1, 2.0, event=Phase.END))
    assert [event["historical"] for event in payloads(ear.wait_for_kind("event", 2))] == [True, False]


def test_events_that_cannot_be_delivered_by_the_end_are_kept(own_broker: Mosquitto, config, caplog):
    with Publisher(config.model_copy(update={"broker": own_broker.url}), render) as publisher:
        own_broker.stop()
        publisher.publish(inspection(0, 2.0, event=Phase.START))
        publisher.close(0.2)
    assert publisher.summary.dropped["score"] == publisher.kept_events[0] == 1
    assert publisher.lost_events == 0
    assert "could not be delivered" not in caplog.text


def test_events_that_cannot_be_delivered_nor_kept_are_counted(own_broker: Mosquitto, config, tmp_path, caplog):
    (tmp_path / "state").touch()  # a file in the place of the folder
    config = config.model_copy(update={"broker": own_broker.url, "state": tmp_path / "state"})
    with Publisher(config, render) as publisher:
        own_broker.stop()
        publisher.publish(inspection(0, 2.0, event=Phase.START))
        publisher.close(0.2)
    assert publisher.summary.dropped["event"] == publisher.summary.dropped["score"] == publisher.lost_events == 1
    assert "1 event messages could not be delivered" in caplog.text

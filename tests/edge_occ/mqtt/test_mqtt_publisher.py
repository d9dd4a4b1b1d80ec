from __future__ import annotations

import json
import logging
import socket
import threading
import time
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from mqtt_helpers import PATIENCE, Ear, Mosquitto, free_port, inspection, render, wait_until

from edge_occ.decision import EventTracker, Phase, Verdict
from edge_occ.errors import InputError
from edge_occ.faults import Fault, Reason, Unscored
from edge_occ.inspection import Sink
from edge_occ.mqtt.embedded import EmbeddedBroker
from edge_occ.mqtt.jpeg import read_comment
from edge_occ.mqtt.messages import Event, HeatmapInfo, Score, State, Stats
from edge_occ.mqtt.publisher import Publisher


def payloads(messages) -> list[dict]:
    return [json.loads(bytes(message.payload)) for message in messages]


def test_it_is_a_sink(config):
    sink: Sink = Publisher(config, render)
    sink.publish(inspection())


def test_a_run_is_told_from_birth_to_goodbye(config, ear):
    tracker = EventTracker()
    told = {"engine": "cpu fp32", "bundle": "bottle", "source_dropped": lambda: 7, "output_lost": lambda: 3}
    with Publisher(config, render, **told) as publisher:
        for reason in (Reason.ENGINE, Reason.UNREADABLE, Reason.ENGINE):
            publisher.fault(Fault(0, datetime.now(timezone.utc), Unscored(reason, "words")))
        for index, score in enumerate([0.5, 1.5, 2.5, 0.5]):
            change = tracker.step(Verdict(score, 0.25, 1.0, score > 1))
            shown = inspection(index, score, name=f"{index}.png")
            publisher.publish(type(shown)(shown.frame, shown.scores, shown.verdict, shown.boxes, change))
    ear.wait_for_state("offline")

    scores = [Score.model_validate_json(bytes(message.payload)) for message in ear.of("score")]
    assert [(score.frame, score.name, score.score) for score in scores] == [
        (0, "0.png", 0.5), (1, "1.png", 1.5), (2, "2.png", 2.5), (3, "3.png", 0.5)
    ]  # fmt: skip
    assert all(score.latency_ms >= 0 for score in scores)
    assert not any(message.retain for message in ear.heard)

    events = [Event.model_validate_json(bytes(message.payload)) for message in ear.of("event")]
    assert [(event.phase, event.peak, event.frame) for event in events] == [
        (Phase.START, 1.5, 1), (Phase.UPDATE, 2.5, 2), (Phase.END, 2.5, 3)
    ]  # fmt: skip
    assert len({event.id for event in events}) == 1
    assert not any(event.historical for event in events)
    assert events[0].boxes[0].width == 3
    assert {message.qos for message in ear.of("event")} == {1}
    assert {message.qos for kind in ("score", "heatmap", "stats") for message in ear.of(kind)} == {0}

    stats = Stats.model_validate_json(bytes(ear.of("stats")[-1].payload))
    assert (stats.frames, stats.dropped, stats.engine, stats.bundle) == (4, 7, "cpu fp32", "bottle")
    assert stats.latency_p50_ms is not None
    assert (stats.faults, stats.faults_engine, stats.faults_unreadable, stats.faults_score) == (3, 2, 1, 0)
    assert stats.output_lost == 3

    summary = publisher.summary
    assert summary.frames == summary.published["score"] == 4
    assert summary.published["event"] == 3
    assert summary.published["heatmap"] + summary.superseded == 4
    assert summary.dropped == summary.failed == {}
    assert summary.latency_p50_ms <= summary.latency_p95_ms
    assert b"offline" in bytes(ear.heard[-1].payload)


def test_a_heatmap_says_what_it_shows_and_is_kept(broker, config):
    with Publisher(config, render) as publisher:
        publisher.publish(inspection(41, 1.5, name="screw.png"))
    with Ear(broker.port, f"{config.prefix}/{config.device}/#") as late:
        (message,) = late.wait_for_kind("heatmap")
        (stats,) = late.wait_for_kind("stats")
        assert message.retain
        assert stats.retain
        assert not late.of("score")
        assert not late.of("event")
    jpeg = bytes(message.payload)
    told = dict(message.properties.UserProperty)
    assert (told["frame"], told["score"], told["verdict"], told["name"]) == ("41", "1.5", "anomalous", "screw.png")
    assert told["captured_at"].endswith("Z")
    inside = HeatmapInfo.model_validate_json(read_comment(jpeg))
    assert inside.to_tags() == told
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(image, 41, atol=2)


def test_the_same_on_a_broker_of_3_1_1(config):
    with EmbeddedBroker(free_port()) as embedded, Ear(embedded.port, f"{config.prefix}/#", protocol=4) as ear:
        config = config.model_copy(update={"broker": embedded.url, "protocol": "v3.1.1"})
        with Publisher(config, render) as publisher:
            publisher.publish(inspection(5, 1.5, event=Phase.START))
        ear.wait_for_state("offline")
        assert [event["frame"] for event in payloads(ear.wait_for_kind("event"))] == [5]
        assert b'"frame":5' in read_comment(bytes(ear.wait_for_kind("heatmap")[0].payload))


def test_far_more_events_than_may_be_in_flight_all_arrive_in_order(config, ear):
    with Publisher(config, render) as publisher:
        for index in range(300):
            publisher.publish(inspection(index, 0.5, event=Phase.UPDATE))
    assert [event["frame"] for event in payloads(ear.wait_for_kind("event", 300))] == list(range(300))
    assert publisher.summary.published["event"] == 300


def test_publishing_goes_on_while_the_broker_is_frozen_and_memory_is_bounded(own_broker: Mosquitto, config):
    config = config.model_copy(update={"broker": own_broker.url})
    big = inspection(0, 0.5, size=600)
    noise = np.random.default_rng(0).integers(0, 256, big.frame.image.shape, np.uint8)
    big_jpeg = cv2.imencode(".jpg", noise, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    with Publisher(config, lambda _: big_jpeg * 8) as publisher:
        own_broker.pause()
        for index in range(3000):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
        depths = publisher._outgoing.depths
        assert depths["score"] <= 256
        assert depths["event"] <= 1000
        assert depths["heatmap"] <= 1
        assert publisher.summary.dropped["event"] >= 1900
        assert publisher.summary.dropped["score"] >= 1
        own_broker.resume()
        wait_until(lambda: not any(publisher._outgoing.depths.values()), "the queues to empty")
    summary = publisher.summary
    assert summary.frames == 3000
    assert summary.published["score"] + summary.dropped["score"] == 3000
    assert summary.published["event"] + summary.dropped["event"] == 3000


def test_the_client_never_holds_more_than_one_live_message_of_a_frozen_broker(own_broker: Mosquitto, config):
    config = config.model_copy(update={"broker": own_broker.url, "heatmap_hz": 1000})
    rendered = threading.Semaphore(0)

    def render_much(_: object) -> bytes:
        rendered.release()
        return b"\xff\xd8\xff" + bytes(4_000_000)  # more than the buffers of a TCP connection hold

    with Publisher(config, render_much) as publisher:
        own_broker.pause()
        publisher.publish(inspection(0))
        assert rendered.acquire(timeout=PATIENCE)
        wait_until(lambda: publisher._sender._leaving is not None, "the heatmap to be stuck")
        for index in range(1, 50):
            publisher.publish(inspection(index))
        assert not rendered.acquire(timeout=0.3)
        assert publisher._outgoing.depths == {"score": 50 - publisher.summary.published.get("score", 0), "event": 0,
                                              "heatmap": 1}  # fmt: skip
        own_broker.resume()
        assert rendered.acquire(timeout=PATIENCE)
    assert publisher.summary.dropped == {}


def test_events_of_an_outage_are_kept_and_scores_are_not(own_broker: Mosquitto, config):
    config = config.model_copy(update={"broker": own_broker.url})
    with Publisher(config, render) as publisher:
        own_broker.stop()
        wait_until(lambda: publisher._connection.session == 0, "the connection to be lost")
        for index in range(100):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
        wait_until(lambda: publisher.summary.dropped.get("score") == 100, "the scores to be dropped")
        assert publisher._outgoing.depths == {"score": 0, "event": 100, "heatmap": 0}
        own_broker.start()
        wait_until(lambda: publisher.summary.published.get("event") == 100, "all events to be confirmed")
    assert publisher.summary.published["event"] == 100
    assert publisher.summary.dropped.get("event", 0) == 0


def cut(publisher: Publisher) -> None:
    """Break the publisher's connection, and no one else's."""
    publisher._connection._client.socket().shutdown(socket.SHUT_RDWR)
    wait_until(lambda: publisher._connection.session == 0, "the connection to be lost")


def test_events_of_an_outage_come_in_order_and_marked_historical(config, ear):
    with Publisher(config, render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START))
        ear.wait_for_kind("event")
        cut(publisher)
        for index in range(1, 101):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
        assert publisher._connection.session == 0
        wait_until(lambda: publisher._connection.session == 2, "the connection to be back")
        publisher.publish(inspection(101, 2.0, event=Phase.END))
    events = payloads(ear.wait_for_kind("event", 102))
    assert [event["frame"] for event in events] == list(range(102))
    assert [event["frame"] for event in events if not event["historical"]] == [0, 101]
    ear.wait_for_state("offline", 2)
    assert [status["state"] for status in payloads(ear.of("status"))] == ["online", "offline", "online", "offline"]


@pytest.mark.parametrize(("age", "historical"), [(0.0, False), (4.5, True)])
def test_events_unconfirmed_when_the_connection_broke_are_sent_again(own_broker: Mosquitto, config, age, historical):
    config = config.model_copy(update={"broker": own_broker.url})
    with Ear(own_broker.port, f"{config.prefix}/#") as ear, Publisher(config, render) as publisher:
        own_broker.pause()
        for index in range(20):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE, captured=time.monotonic() - age))
        wait_until(lambda: len(publisher._sender._in_flight) == 10, "ten events to be in flight")
        cut(publisher)
        own_broker.resume()
        wait_until(lambda: publisher.summary.published.get("event") == 20, "all events to be confirmed")
        ear.wait_for(lambda _: any(event["frame"] == 19 for event in payloads(ear.of("event"))), "the last event")
    events = payloads(ear.of("event"))
    first, again = events[:-20], events[-20:]
    assert [event["frame"] for event in again] == list(range(20))
    assert all(event["historical"] is historical for event in again)
    assert [event["frame"] for event in first] == list(
        range(len(first))
    )  # what the broker had taken before, if anything


def test_an_event_that_waited_too_long_is_no_news(config, ear):
    with Publisher(config, render) as publisher:
        publisher.publish(inspection(0, 2.0, event=Phase.START, captured=time.monotonic() - 5.5))
        publisher.publish(inspection(1, 2.0, event=Phase.END))
    assert [event["historical"] for event in payloads(ear.wait_for_kind("event", 2))] == [True, False]


def test_events_that_cannot_be_delivered_by_the_end_are_counted(own_broker: Mosquitto, config, caplog):
    with Publisher(config.model_copy(update={"broker": own_broker.url}), render) as publisher:
        own_broker.stop()
        wait_until(lambda: publisher._connection.session == 0, "the connection to be lost")
        publisher.publish(inspection(0, 2.0, event=Phase.START))
        publisher.close(0.2)
    assert publisher.summary.dropped == {"score": 1, "heatmap": 1, "event": 1}
    assert "1 events could not be delivered" in caplog.text


def test_one_bad_frame_does_not_end_the_sender(config, ear, caplog):
    def render_some(shown):
        if shown.frame.index < 2:
            raise cv2.error("no picture")
        return render(shown)

    with Publisher(config.model_copy(update={"heatmap_hz": 1000}), render_some) as publisher:
        for index in range(2):
            publisher.publish(inspection(index, 2.0))
            wait_until(lambda: publisher.summary.failed.get("heatmap") == index + 1, "the renderer to fail")  # noqa: B023
        publisher.publish(inspection(2, float("nan"), event=Phase.START))
        wait_until(lambda: len(publisher.summary.failed) == 3, "the frame without a score to be refused")
        publisher.publish(inspection(3, 2.0))
        ear.wait_for_kind("heatmap")
    assert [score["frame"] for score in payloads(ear.of("score"))] == [0, 1, 3]
    assert publisher.summary.failed == {"heatmap": 3, "score": 1, "event": 1}
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 3


def test_a_heatmap_larger_than_the_broker_takes_is_left_out(tmp_path, config):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 20000"]).start()
    try:
        config = config.model_copy(update={"broker": broker.url})
        with Publisher(config, lambda shown: b"\xff\xd8\xff" + bytes(30_000 * shown.frame.index)) as publisher:
            publisher.publish(inspection(0, 2.0))
            wait_until(lambda: publisher.summary.published.get("heatmap") == 1, "the small one to leave")
            publisher.publish(inspection(1, 2.0))
            wait_until(lambda: publisher.summary.dropped.get("heatmap") == 1, "the large one to be left out")
            assert publisher._connection.session == 1
    finally:
        broker.stop()


def test_statistics_keep_coming(config, ear):
    with Publisher(config.model_copy(update={"stats_seconds": 0.05}), render) as publisher:
        publisher.publish(inspection())
        ear.wait_for_kind("stats", 3)
    stats = payloads(ear.of("stats"))
    assert stats[-1]["frames"] == 1
    assert stats[-1]["queues"]["score"] == {"depth": 0, "dropped": 0}
    assert [entry["sent_at"] for entry in stats] == sorted(entry["sent_at"] for entry in stats)


def test_what_the_device_does_can_be_told(config, ear):
    with Publisher(config, render) as publisher:
        publisher.announce(State.BUILDING, "engine")
        ear.wait_for_state("building")
        publisher.announce(State.ONLINE)
        ear.wait_for_state("online", 2)


def test_without_a_broker_it_does_not_begin(config):
    publisher = Publisher(config.model_copy(update={"broker": f"127.0.0.1:{free_port()}"}), render)
    before = threading.active_count()
    with pytest.raises(InputError, match="refused"):
        publisher.__enter__()
    publisher.close()
    assert threading.active_count() == before


def test_no_thread_is_left_behind(config):
    with Publisher(config, render) as publisher:
        publisher.publish(inspection())
        publisher.close()
        publisher.publish(inspection())
    assert not [
        thread for thread in threading.enumerate() if config.device in thread.name or "publisher" in thread.name
    ]

from __future__ import annotations

import itertools
import json
import logging
import os
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from mqtt_helpers import Ear, Link, Mosquitto, free_port, inspection, render, wait_until
from paho.mqtt.enums import MQTTProtocolVersion

from edge_occ.bundle.conformal import Verdict
from edge_occ.common.errors import InputError
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.inspection.result import Box
from edge_occ.mqtt.embedded import EmbeddedBroker
from edge_occ.mqtt.jpeg import read_comment
from edge_occ.mqtt.payloads import DeviceState, Event, HeatmapInfo, Score, Stats
from edge_occ.mqtt.publisher import Publisher
from edge_occ.sources.faults import Fault, Reason, Unscored


def payloads(messages) -> list[dict]:
    return [json.loads(bytes(message.payload)) for message in messages]


def test_a_run_is_published_from_birth_to_offline(config, ear):
    tracker = EventTracker()
    publisher = Publisher(
        config, render, engine="cpu fp32", bundle="bottle", source_dropped=lambda: 7, output_lost=lambda: 3
    )
    with publisher:
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


def test_every_json_payload_has_the_flat_keys(config, ear):
    """As a dashboard reads them from a wildcard topic."""
    begin = time.time() * 1000
    with Publisher(config.model_copy(update={"camera": "left"}), render) as publisher:
        publisher.publish(inspection(0, 1.5, event=Phase.START, of="a"))
        wait_until(lambda: publisher.summary.published.get("heatmap") == 1, "the heatmap")
        publisher.publish(inspection(1, 0.5, event=Phase.END, of="a"))
    ear.wait_for_state("offline")
    with Publisher(config, render):  # without a camera
        ear.wait_for_state("online", 2)
    kinds = {kind: payloads(ear.of(kind)) for kind in ("status", "score", "event", "stats")}
    kinds["heatmap"] = [json.loads(read_comment(bytes(message.payload))) for message in ear.of("heatmap")]
    for kind, contents in kinds.items():
        assert contents, kind
        for content in contents:
            assert content["device"] == config.device
            assert begin - 1 <= content["ts"] <= time.time() * 1000 + 1
            assert type(content["ts"]) is int
        assert contents[0]["camera"] == "left"
    assert kinds["status"][-1]["camera"] == ""
    assert [score["anomalous"] for score in kinds["score"]] == [1, 0]
    assert [(event["anomalous"], event["event_type"]) for event in kinds["event"]] == [(1, "start"), (0, "end")]
    assert all(stats["latency_p95_ms"] >= 0 for stats in kinds["stats"])


def test_a_heatmap_describes_itself_and_is_retained(broker, config):
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
    told = dict(vars(message.properties)["UserProperty"])
    assert (told["frame"], told["score"], told["verdict"], told["name"]) == ("41", "1.5", "anomalous", "screw.png")
    assert told["captured_at"].endswith("Z")
    inside = HeatmapInfo.model_validate_json(read_comment(jpeg))
    assert inside.to_user_properties() == told
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_allclose(image, 41, atol=2)


def test_the_same_on_a_broker_of_3_1_1(config):
    with (
        EmbeddedBroker(free_port()) as embedded,
        Ear(embedded.port, f"{config.prefix}/#", protocol=MQTTProtocolVersion.MQTTv311) as ear,
    ):
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


def arrivals(ear: Ear) -> list[str]:
    """Kinds of the messages received, in order."""
    return [message.topic.rsplit("/", 1)[1] for message in ear.heard]


def test_publishing_goes_on_while_the_broker_is_frozen_and_memory_is_bounded(own_broker: Mosquitto, config):
    config = config.model_copy(update={"broker": own_broker.url})
    with Publisher(config, lambda _: b"\xff\xd8\xff" + bytes(4_000_000)) as publisher:
        own_broker.pause()
        for index in range(3000):
            publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
        assert publisher.summary.dropped["event"] >= 1900
        assert publisher.summary.dropped["score"] >= 2900
        own_broker.resume()
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


def test_events_that_the_broker_refuses_are_counted_and_their_topic_is_named_once(tmp_path, config, caplog):
    (tmp_path / "acl").write_text("topic deny plant/line3/edge-occ/+/event\ntopic readwrite #\n")
    (tmp_path / "acl").chmod(0o600)
    broker = Mosquitto(tmp_path, ["allow_anonymous true", f"acl_file {tmp_path / 'acl'}"]).start()
    try:
        config = config.model_copy(update={"broker": broker.url})
        with Publisher(config, render) as publisher:
            for index in range(20):
                publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
    finally:
        broker.stop()
    assert publisher.summary.refused == {"event": 20}
    assert "event" not in publisher.summary.published
    assert publisher.lost_events == 20
    (line,) = [record.getMessage() for record in caplog.records if "refuses" in record.getMessage()]
    assert f"refuses messages on {config.topics.event}: Not authorized" in line
    assert "access control list" in line


@pytest.mark.parametrize(
    ("lack", "words"), [("retain_available false", "no retained messages"), ("max_qos 0", "QoS 0 only")]
)
@pytest.mark.parametrize("protocol", ["auto", "v5"])
def test_a_broker_without_retained_messages_or_qos_1_is_enough(tmp_path, config, caplog, lack, words, protocol):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", lack]).start()
    try:
        with Ear(broker.port, f"{config.prefix}/#") as ear, Link(broker.port) as link:
            config = config.model_copy(update={"broker": link.url, "protocol": protocol})
            with Publisher(config, render) as publisher:
                publisher.publish(inspection(0, 2.0, event=Phase.START, of="a"))
                wait_until(lambda: publisher.summary.published.get("event") == 1, "the first event")
                link.hold()
                publisher.publish(inspection(1, 2.0, event=Phase.END, of="a"))
                time.sleep(0.05)
                link.cut()
                link.release()
                wait_until(lambda: publisher.summary.published.get("event") == 2, "the second event")
            ear.wait_for_state("offline", 2)
    finally:
        broker.stop()
    assert [event["phase"] for event in payloads(ear.of("event"))] == ["start", "end"]
    assert publisher.lost_events == 0
    assert len([record for record in caplog.records if words in record.getMessage()]) == 1


def test_a_broker_that_accepts_one_unconfirmed_message_gets_one(tmp_path, config):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_inflight_messages 1"]).start()
    try:
        with Ear(broker.port, f"{config.prefix}/#") as ear, Link(broker.port) as link:
            with Publisher(config.model_copy(update={"broker": link.url}), render) as publisher:
                wait_until(lambda: publisher.summary.published.get("stats") == 1, "the link to be idle")
                link.hold_answers()
                for index in range(5):
                    publisher.publish(inspection(index, 2.0, event=Phase.UPDATE))
                ear.wait_for(lambda _: len(ear.of("score")) == 5, "the scores")
                ear.wait_for_kind("event")
                assert [event["frame"] for event in payloads(ear.of("event"))] == [0]
                link.release()
            ear.wait_for_state("offline")
        assert [event["frame"] for event in payloads(ear.of("event"))] == list(range(5))
    finally:
        broker.stop()


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


def test_events_that_cannot_be_delivered_by_the_end_are_counted(own_broker: Mosquitto, config, caplog):
    with Publisher(config.model_copy(update={"broker": own_broker.url}), render) as publisher:
        own_broker.stop()
        publisher.publish(inspection(0, 2.0, event=Phase.START))
        publisher.close(0.2)
    assert publisher.summary.dropped["event"] == publisher.summary.dropped["score"] == publisher.lost_events == 1
    assert "1 event messages could not be delivered" in caplog.text


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


def test_a_heatmap_above_the_limit_of_the_broker_is_not_sent(tmp_path, config, caplog):
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 20000"]).start()
    try:
        with Ear(broker.port, f"{config.prefix}/#") as ear:
            config = config.model_copy(update={"broker": broker.url})
            with Publisher(config, lambda shown: b"\xff\xd8\xff" + bytes(30_000 * shown.frame.index)) as publisher:
                publisher.publish(inspection(0, 2.0))
                wait_until(lambda: publisher.summary.published.get("heatmap") == 1, "the small one to leave")
                publisher.publish(inspection(1, 2.0))
                wait_until(lambda: publisher.summary.dropped.get("heatmap") == 1, "the large one to be left out")
            ear.wait_for_state("offline")
            assert len(ear.of("status")) == 2
    finally:
        broker.stop()
    assert "30" in caplog.text
    assert config.topics.heatmap in caplog.text


def test_max_payload_limits_messages_and_an_event_above_it_is_sent_without_boxes(config, ear, caplog):
    config = config.model_copy(update={"max_payload": 1024})
    with Publisher(config, lambda _: b"\xff\xd8\xff" + bytes(2000)) as publisher:
        boxes = tuple(Box(n, n, n, n, 2.0) for n in range(32))
        publisher.publish(replace(inspection(0, 2.0, event=Phase.START), boxes=boxes))
    (event,) = payloads(ear.wait_for_kind("event"))
    assert event["boxes"] == []
    assert publisher.summary.dropped == {"heatmap": 1}
    assert "mqtt.max_payload" in caplog.text


def test_heatmaps_that_end_every_connection_of_mqtt_3_1_1_are_no_longer_sent(tmp_path, config, caplog):
    """This protocol cannot report a limit on packets: the broker closes the connection."""
    broker = Mosquitto(tmp_path, ["allow_anonymous true", "max_packet_size 20000"]).start()
    try:
        with Ear(broker.port, f"{config.prefix}/#") as ear:
            config = config.model_copy(update={"broker": broker.url, "protocol": "v3.1.1", "heatmap_hz": 1000})
            with Publisher(config, lambda _: b"\xff\xd8\xff" + bytes(30_000)) as publisher:
                frames = itertools.count()

                def a_hundred_scores_have_arrived() -> bool:
                    publisher.publish(inspection(next(frames)))
                    return publisher.summary.published.get("score", 0) >= 100

                wait_until(a_hundred_scores_have_arrived, "the scores to arrive")
            ear.wait_for_state("offline", 4)
    finally:
        broker.stop()
    assert len(ear.of("status")) == 8
    assert "heatmaps: those above 15" in caplog.text
    assert "mqtt.max_payload" in caplog.text
    assert len([record for record in caplog.records if "lost" in record.getMessage()]) == 1  # and no flood


def test_two_cameras_of_one_device_have_topics_and_connections_of_their_own(config, ear):
    left, right = (config.model_copy(update={"camera": camera}) for camera in ("left", "right"))
    with Publisher(left, render) as first:
        with Publisher(right, render) as second:
            for index in range(10):
                first.publish(inspection(index))
                second.publish(inspection(index))
        ear.wait_for(
            lambda heard: any(m.topic == right.topics.status and b"offline" in m.payload for m in heard), "end"
        )
        first.publish(inspection(10))
    ear.wait_for(lambda heard: any(m.topic == left.topics.status and b"offline" in m.payload for m in heard), "end")
    for camera, count in ((left, 11), (right, 10)):
        base = f"{config.prefix}/{config.device}/{camera.camera}"
        mine = [message for message in ear.heard if message.topic.startswith(f"{base}/")]
        scores = payloads(message for message in mine if message.topic == f"{base}/score")
        assert [score["frame"] for score in scores] == list(range(count))
        states = payloads(message for message in mine if message.topic == f"{base}/status")
        assert [status["state"] for status in states] == ["online", "offline"]


def test_a_second_inspector_on_the_same_topics_is_refused_and_the_first_continues(config, ear):
    with Publisher(config, render) as first:
        with pytest.raises(InputError, match="process") as caught, Publisher(config, render):
            pass
        assert str(os.getpid()) in caught.value.found
        assert "mqtt.camera" in caught.value.advice
        first.publish(inspection(0))
    ear.wait_for_state("offline")
    with Publisher(config, render):
        ear.wait_for_state("online", 2)
    assert [status["state"] for status in payloads(ear.of("status"))][:2] == ["online", "offline"]


def test_an_inspector_of_another_machine_with_the_same_name_is_logged(config, tmp_path, ear, caplog):
    here, there = (config.model_copy(update={"state": tmp_path / name}) for name in ("here", "there"))
    with Publisher(here, render), Publisher(there, render):
        ear.wait_for_state("online", 4)
        wait_until(lambda: "another client with the id" in caplog.text, "the warning")
    line = next(record.getMessage() for record in caplog.records if "another client" in record.getMessage())
    assert "mqtt.camera" in line
    assert "mqtt.device" in line


def test_names_that_mqtt_forbids_reach_the_subscriber_as_question_marks(broker, config, ear):
    """mosquitto ends the connection on a control character in a user property."""
    names = ["line\nfeed.png", "\x1b[2Jclear.png", "nul\0.png", "\udce9.png", "\uffff.png", "x" * 500 + "\u00e9.png"]
    with Publisher(config.model_copy(update={"heatmap_hz": 1000}), render) as publisher:
        for index, name in enumerate(names):
            publisher.publish(inspection(index, name=name))
            wait_until(lambda: publisher.summary.published.get("heatmap") == index + 1, "the heatmap")  # noqa: B023
    ear.wait_for_state("offline")
    tags = [dict(vars(message.properties)["UserProperty"])["name"] for message in ear.of("heatmap")]
    assert tags == ["line?feed.png", "?[2Jclear.png", "nul?.png", "?.png", "?.png", "x" * 255]
    assert [score["name"] for score in payloads(ear.of("score"))] == [
        "line\nfeed.png", "\x1b[2Jclear.png", "nul\0.png", "?.png", "\uffff.png", "x" * 500 + "\u00e9.png"
    ]  # fmt: skip
    assert len(ear.of("status")) == 2


def test_stats_are_published_periodically(config, ear):
    with Publisher(config.model_copy(update={"stats_seconds": 0.05}), render) as publisher:
        publisher.publish(inspection())
        ear.wait_for_kind("stats", 3)
    stats = payloads(ear.of("stats"))
    assert stats[-1]["frames"] == 1
    assert stats[-1]["queues"]["score"] == {"depth": 0, "dropped": 0}
    assert [entry["sent_at"] for entry in stats] == sorted(entry["sent_at"] for entry in stats)


def test_the_state_of_the_device_is_published(config, ear):
    with Publisher(config, render) as publisher:
        publisher.announce(DeviceState.BUILDING, "engine")
        ear.wait_for_state("building")
        publisher.announce(DeviceState.ONLINE)
        ear.wait_for_state("online", 2)


def test_without_a_broker_entering_fails(config):
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


def black(index=0):
    return Fault(index, datetime.now(timezone.utc), Unscored(Reason.BLACK, "mean 1 of 255"))


def states(ear):
    return [(told["state"], told["detail"]) for told in payloads(ear.of("status"))]


def test_a_fault_that_lasts_is_a_state_until_frames_are_good_again(config, ear):
    """And one that does not last is none."""
    with Publisher(config, render, fault_after=0.3) as publisher:
        publisher.fault(black())
        publisher.publish(inspection(1))
        begun = time.monotonic()
        while time.monotonic() - begun < 0.6:
            publisher.fault(black())
            time.sleep(0.02)
        ear.wait_for_state("fault")
        publisher.publish(inspection(2))
        ear.wait_for_state("online", 2)
    ear.wait_for_state("offline")
    assert states(ear) == [
        ("online", None), ("fault", "black: mean 1 of 255"), ("online", None), ("offline", None)
    ]  # fmt: skip
    stats = Stats.model_validate_json(bytes(ear.of("stats")[-1].payload))
    assert stats.faults_black == stats.faults > 2
    assert stats.frames == 2


def test_a_silent_source_is_a_state_where_frames_are_expected(config, ear):
    """The thread of the frames waits for the next one, so it cannot tell."""
    quick = config.model_copy(update={"stats_seconds": 0.1})
    with Publisher(quick, render, fault_after=0.4) as publisher:
        ear.wait_for_kind("stats", 8)
        assert [state for state, _ in states(ear)] == ["online"], "nothing is expected before the source begins"
        publisher.expect_frames()
        ear.wait_for_state("fault")
        publisher.publish(inspection(1))
        ear.wait_for_state("online", 2)
    ear.wait_for_state("offline")
    assert states(ear)[1][1] == "silent: no frame from the source for 0.4 s or more"


def test_a_fault_is_told_again_after_a_reconnection(own_broker, config):
    at_own = config.model_copy(update={"broker": own_broker.url, "stats_seconds": 0.1})
    with Ear(own_broker.port, "plant/#") as ear, Publisher(at_own, render, fault_after=0.1) as publisher:
        publisher.expect_frames()
        ear.wait_for_state("fault")
        own_broker.stop()
        own_broker.start()
        ear.wait_for_state("fault", 2)

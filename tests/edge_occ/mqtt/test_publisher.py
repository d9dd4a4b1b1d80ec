"""A run as its subscribers see it."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest
from mqtt_helpers import PATIENCE, Ear, free_port, inspection, payloads, render, tcp_server, wait_until
from paho.mqtt.enums import MQTTProtocolVersion

from edge_occ.bundle.conformal import Verdict
from edge_occ.common.errors import InputError
from edge_occ.inspection.drift import DriftState
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.mqtt.embedded import EmbeddedBroker
from edge_occ.mqtt.jpeg import read_comment
from edge_occ.mqtt.payloads import DeviceState, Event, HeatmapInfo, Score
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.stats_payload import Stats
from edge_occ.sources.faults import Fault, Reason, Unscored


def test_a_run_is_published_from_birth_to_offline(config, ear):
    tracker = EventTracker()
    publisher = Publisher(config, render, engine="cpu fp32", bundle="bottle")
    measured = publisher.snapshot
    drift = DriftState(alarm=True, anomalous_share=0.25)
    publisher.snapshot = lambda: replace(measured(), dropped=7, output_lost=3, evidence_lost=2, drift=drift)
    with publisher:
        for reason in (Reason.ENGINE, Reason.UNREADABLE, Reason.ENGINE):
            publisher.fault(Fault(0, datetime.now(timezone.utc), Unscored(reason, "words")))
        for index, score in enumerate([0.5, 1.5, 2.5, 0.5]):
            change = tracker.step(Verdict(score, 0.25, 1.0, score > 1))
            shown = inspection(index, score, name=f"{index}.png", captured=time.monotonic() - 2)
            publisher.publish(type(shown)(shown.frame, shown.scores, shown.verdict, shown.boxes, change))
    ear.wait_for_state("offline")

    scores = [Score.model_validate_json(bytes(message.payload)) for message in ear.of("score")]
    assert [(score.frame, score.name, score.score) for score in scores] == [
        (0, "0.png", 0.5), (1, "1.png", 1.5), (2, "2.png", 2.5), (3, "3.png", 0.5)
    ]  # fmt: skip
    # They were captured two seconds before they were published.
    assert all(2000 <= score.latency_ms < 2000 + 1000 * PATIENCE for score in scores)
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
    assert 2000 <= stats.latency_p50_ms * 1.02 < 2000 + 1000 * PATIENCE
    assert stats.latency_p50_ms <= stats.latency_p95_ms <= stats.latency_p99_ms
    assert stats.publish_p50_ms * 1.02 >= 2000, "these frames have no time of a verdict"
    assert (stats.engine_p95_ms, stats.capture_p95_ms, stats.wait_p95_ms) == (0, 0, 0), "nothing measured them"
    assert (stats.faults, stats.faults_engine, stats.faults_unreadable, stats.faults_score) == (3, 2, 1, 0)
    assert (stats.output_lost, stats.evidence_lost) == (3, 2)
    assert (stats.drift_alarm, stats.anomalous_share) == (1, 0.25)

    summary = publisher.summary
    assert summary.frames == summary.published["score"] == 4
    assert summary.published["event"] == 3
    assert summary.published["heatmap"] + summary.superseded == 4
    assert summary.dropped == summary.failed == {}
    assert b"offline" in bytes(ear.heard[-1].payload)


def test_every_json_payload_has_the_flat_keys(config, ear):
    """As a dashboard reads them from a wildcard topic."""
    begin = time.time() * 1000
    with Publisher(config.model_copy(update={"camera": "left"}), render) as publisher:
        publisher.publish(inspection(0, 1.5, event=Phase.START, of="a", captured=time.monotonic() - 2))
        wait_until(lambda: publisher.summary.published.get("heatmap") == 1, "the heatmap")
        publisher.publish(inspection(1, 0.5, event=Phase.END, of="a", captured=time.monotonic() - 2))
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
    # 0 before the first score; the second run has none.
    assert 2000 <= 1.02 * max(stats["latency_p95_ms"] for stats in kinds["stats"]) < 2000 + 1000 * PATIENCE
    assert kinds["stats"][-1]["latency_p95_ms"] == 0


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


def test_a_broker_that_refuses_this_client_ends_the_start_and_leaves_no_thread(config):
    def answer(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"\x20\x03\x00\x87\x00")

    before = threading.active_count()
    with tcp_server(answer) as address:
        publisher = Publisher(config.model_copy(update={"broker": address}), render)
        with pytest.raises(InputError, match="not authorized"):
            publisher.__enter__()
        publisher.close()
    assert threading.active_count() == before
    with Publisher(config, render):  # the lock was released
        pass


def test_no_thread_is_left_behind(config):
    with Publisher(config, render) as publisher:
        publisher.publish(inspection())
        publisher.close()
        publisher.publish(inspection())
    assert not [
        thread for thread in threading.enumerate() if config.device in thread.name or "publisher" in thread.name
    ]

"""Publishing to brokers that refuse or limit messages."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import pytest
from mqtt_helpers import Ear, Link, Mosquitto, inspection, payloads, render, wait_until

from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Box
from edge_occ.mqtt.publisher import Publisher


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


def test_heatmaps_of_anomalous_frames_keep_the_budget_of_bytes(config):
    """Without a budget they are 0.1 s apart."""
    drawn = []

    def draw(_: object) -> bytes:
        drawn.append(time.monotonic())
        return b"\xff\xd8\xff" + bytes(30_000)

    config = config.model_copy(update={"picture_kb_s": 100.0})
    with Publisher(config, draw) as publisher:
        frames = itertools.count()

        def three_are_published() -> bool:
            publisher.publish(inspection(next(frames), 2.0))
            return publisher.summary.published.get("heatmap", 0) >= 3

        wait_until(three_are_published, "three heatmaps")
        times = drawn[:3]
    assert all(later - earlier >= 0.3 for earlier, later in itertools.pairwise(times)), times


def test_max_payload_limits_messages_and_an_event_above_it_is_sent_without_boxes(config, ear, caplog):
    config = config.model_copy(update={"max_payload": 1024})
    with Publisher(config, lambda _: b"\xff\xd8\xff" + bytes(4000)) as publisher:
        boxes = tuple(Box(n, n, n, n, 2.0) for n in range(32))
        publisher.publish(replace(inspection(0, 2.0, event=Phase.START), boxes=boxes))
    (event,) = payloads(ear.wait_for_kind("event"))
    assert event["boxes"] == []
    assert publisher.summary.dropped["heatmap"] == 1
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

from __future__ import annotations

import json
import logging
import threading

import pytest
from mqtt_helpers import Ear, Mosquitto, free_port, inspection, render, wait_until

from edge_occ.common.errors import InputError
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.embedded import EmbeddedBroker
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.messages import event_message, heatmap_info, score_message
from edge_occ.mqtt.payloads import DeviceState, DeviceStatus, Event, Score
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.watch import Watcher


def run_line(config, count: int = 5) -> None:
    with Publisher(config.model_copy(update={"heatmap_hz": 1000}), render) as publisher:
        for index in range(count):
            event = {1: Phase.START, 3: Phase.END}.get(index)
            publisher.publish(inspection(index, 2.0 if index in (1, 2) else 0.5, event=event, name=f"{index}.png"))
            wait_until(
                lambda: publisher.summary.published.get("heatmap") == index + 1,  # noqa: B023
                "the heatmap to arrive",
            )


def lines(file) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def state_of(received: Received) -> DeviceState:
    assert isinstance(received.message, DeviceStatus)
    return received.message.state


def check_record(folder, config) -> None:
    scores, events, states = (lines(folder / name) for name in ("scores.jsonl", "events.jsonl", "status.jsonl"))
    assert [line["payload"]["frame"] for line in scores] == [0, 1, 2, 3, 4]
    assert {line["topic"] for line in scores} == {config.topics.score}
    assert all(Score.model_validate(line["payload"]) for line in scores)
    assert [Event.model_validate(line["payload"]).phase for line in events] == [Phase.START, Phase.END]
    assert [line["payload"]["state"] for line in states] == ["online", "offline"]
    pictures = sorted(file.name for file in (folder / "heatmaps" / config.device).iterdir())
    assert pictures == [f"{index:06d}.jpg" for index in range(5)]


def test_a_run_is_recorded_until_the_device_is_offline(config, tmp_path):
    with Watcher(config, device=config.device, save=tmp_path / "record", until_offline=True) as watcher:
        line = threading.Thread(target=run_line, args=(config,))
        line.start()
        heard = list(watcher)
        line.join()
    check_record(tmp_path / "record", config)
    assert (watcher.invalid, watcher.dropped) == (0, 0)
    assert all(received.device == config.device for received in heard)
    assert state_of(heard[0]) is DeviceState.ONLINE
    assert state_of(heard[-1]) is DeviceState.OFFLINE
    moments = [received.received_monotonic for received in heard]
    assert moments == sorted(moments)
    assert all(received.received_at.utcoffset().total_seconds() == 0 for received in heard)


def test_the_same_at_the_embedded_broker(config, tmp_path):
    with EmbeddedBroker(free_port()) as embedded:
        config = config.model_copy(update={"broker": embedded.url, "protocol": "v3.1.1"})
        with Watcher(config, save=tmp_path, until_offline=True) as watcher:
            line = threading.Thread(target=run_line, args=(config,))
            line.start()
            list(watcher)
            line.join()
    check_record(tmp_path, config)


def test_pictures_of_several_inspectors_and_runs_are_kept_apart(config, ear, tmp_path):
    """Whatever the name of a device or a camera is, which anybody on the network may choose."""
    config = config.model_copy(update={"prefix": f"{config.prefix}/{config.device}"})
    places = ["one", "two", "two/left", "two/right", "..", ".hidden", "a b", "a_b", "x" * 300, "caf\u00e9"]
    runs = [inspection(7), inspection(7)]
    sent = [
        (place, insert_comment(render(inspection(shade)), heatmap_info(run).to_json()))
        for shade, (place, run) in enumerate((place, run) for place in places for run in runs)
    ]
    with Watcher(config, save=tmp_path / "record") as watcher:
        for place, jpeg in sent:
            ear.send(f"{config.prefix}/{place}/heatmap", jpeg)
        messages = iter(watcher)
        heard = [next(messages) for _ in sent]
    assert [(shown.device, shown.camera) for shown in heard[4:6]] == [("two", "left"), ("two", "left")]
    files = [file for file in (tmp_path / "record" / "heatmaps").rglob("*") if file.is_file()]
    assert sorted(file.read_bytes() for file in files) == sorted(jpeg for _, jpeg in sent)
    assert len([file for file in files if file.name == "000007.jpg"]) == len(places)
    assert (tmp_path / "record" / "heatmaps" / "two" / "left" / "000007.jpg") in files
    assert {file.name for file in tmp_path.iterdir()} == {"record"}


def test_a_watch_ends_when_every_camera_is_offline(config, ear):
    online, offline = (
        DeviceStatus(state=DeviceState.ONLINE).to_json(),
        DeviceStatus(state=DeviceState.OFFLINE).to_json(),
    )
    with Watcher(config, device=config.device, until_offline=True) as watcher:
        for camera, payload in [("left", online), ("right", online), ("left", offline), ("right", offline)]:
            ear.send(f"{config.topics.base}/{camera}/status", payload)
        assert [received.camera for received in watcher] == ["left", "right", "left", "right"]


def test_a_later_watcher_sees_the_state_but_records_no_old_heatmap(config, tmp_path):
    run_line(config)
    stop = threading.Event()
    kinds = {}
    with Watcher(config, device=config.device, save=tmp_path, stop=stop) as watcher:
        for received in watcher:
            kinds[received.kind] = received.retained
            if len(kinds) == 3:
                stop.set()
    assert kinds == {"status": True, "heatmap": True, "stats": True}
    assert not list((tmp_path / "heatmaps").iterdir())


def test_offline_before_online_ends_nothing(config, ear):
    ear.send(config.topics.status, DeviceStatus(state=DeviceState.OFFLINE).to_json(), retain=True)
    states = []
    with Watcher(config, device=config.device, until_offline=True) as watcher:
        for received in watcher:
            states.append(state_of(received).value)
            if len(states) == 1:
                ear.send(config.topics.status, DeviceStatus(state=DeviceState.BUILDING).to_json())
                ear.send(config.topics.status, DeviceStatus(state=DeviceState.OFFLINE).to_json())
    assert states == ["offline", "building", "offline"]


def test_all_devices_have_to_be_offline(config, ear):
    online, offline = (
        DeviceStatus(state=DeviceState.ONLINE).to_json(),
        DeviceStatus(state=DeviceState.OFFLINE).to_json(),
    )
    config = config.model_copy(update={"prefix": f"{config.prefix}/{config.device}"})
    with Watcher(config, until_offline=True) as watcher:
        for device, payload in [("a", online), ("b", online), ("a", offline), ("c", offline), ("b", offline)]:
            ear.send(f"{config.prefix}/{device}/status", payload)
        assert [received.device for received in watcher] == ["a", "b", "a", "c", "b"]


def test_devices_of_one_name_on_two_lines_are_told_apart(config, ear, tmp_path):
    base = f"{config.prefix}/{config.device}"
    topics = [f"{base}/hamburg/{line}/edge-occ/press-1" for line in ("line1", "line2")]
    jpegs = [insert_comment(render(inspection(shade)), heatmap_info(inspection(7)).to_json()) for shade in (1, 2)]
    online, offline = (DeviceStatus(state=state).to_json() for state in (DeviceState.ONLINE, DeviceState.OFFLINE))
    config = config.model_copy(update={"prefix": f"{base}/+/+/edge-occ"})
    with Watcher(config, save=tmp_path, until_offline=True) as watcher:
        for payload in (online, offline):
            ear.send(f"{base}/hamburg/edge-occ/press-1/status", payload)  # a level too few
        for topic, jpeg in zip(topics, jpegs, strict=True):
            ear.send(f"{topic}/status", online)
            ear.send(f"{topic}/heatmap", jpeg)
        for topic in topics:
            ear.send(f"{topic}/status", offline)
        heard = [(received.place, received.device, received.kind) for received in watcher]
    assert heard[:2] == [("hamburg/line1", "press-1", "status"), ("hamburg/line1", "press-1", "heatmap")]
    assert [place for place, _, kind in heard if kind == "status"] == ["hamburg/line1", "hamburg/line2"] * 2
    for line, jpeg in zip(("line1", "line2"), jpegs, strict=True):
        assert (tmp_path / "heatmaps" / "hamburg" / line / "press-1" / "000007.jpg").read_bytes() == jpeg


def test_messages_of_a_newer_version_are_read_without_their_unknown_keys(config, ear):
    score = score_message(inspection(3, 1.5), 2.0, config.topics.origin)
    newer = {**json.loads(score.to_json()), "lens": {"f": 8}, "regions": [1, 2], "anomalous_since": None}
    with Watcher(config, device=config.device) as watcher:
        ear.send(config.topics.score, json.dumps(newer).encode())
        assert next(iter(watcher)).message == score
        assert watcher.invalid == 0


def test_malformed_payloads_are_counted_and_skipped(config, ear, caplog):
    with Watcher(config, device=config.device) as watcher:
        ear.send(config.topics.score, b"{")
        ear.send(config.topics.score, b'{"\x1b[2Jforged\\nline":1}')
        ear.send(config.topics.heatmap, b"\xff\xd8\xff")
        ear.send(config.topics.event, bytes(9 * 1024 * 1024))
        ear.send(config.topics.status, DeviceStatus(state=DeviceState.ONLINE).to_json())
        assert next(iter(watcher)).message == DeviceStatus(state=DeviceState.ONLINE)
        assert watcher.invalid == 3  # the fourth was larger than the broker was asked to send
    assert "skipped" in caplog.text
    assert "\x1b" not in caplog.text
    assert "\nline" not in caplog.text


def test_a_large_payload_is_refused_by_the_watcher_too(config, ear):
    config = config.model_copy(update={"protocol": "v3.1.1"})
    with Watcher(config, device=config.device) as watcher:
        ear.send(config.topics.event, bytes(9 * 1024 * 1024))
        ear.send(config.topics.status, DeviceStatus(state=DeviceState.ONLINE).to_json())
        assert next(iter(watcher)).kind == "status"
        assert watcher.invalid == 1


def test_an_event_message_that_arrives_again_is_counted_and_skipped(config, ear):
    first, second = (event_message(inspection(index, 2.0, event=Phase.UPDATE, of="one")) for index in (0, 1))
    with Watcher(config, device=config.device) as watcher:
        for message in (first, first.model_copy(update={"historical": True}), second, first):
            ear.send(config.topics.event, message.to_json())
        messages = iter(watcher)
        assert [next(messages).message for _ in range(2)] == [first, second]
        wait_until(lambda: watcher.repeated == 2, "the repetitions")


def test_a_slow_reader_loses_the_oldest_messages_and_counts_them(config, ear):
    with Watcher(config, device=config.device, max_waiting=3) as watcher:
        for state in (
            DeviceState.ONLINE,
            DeviceState.BUILDING,
            DeviceState.FAULT,
            DeviceState.ONLINE,
            DeviceState.OFFLINE,
        ):
            ear.send(config.topics.status, DeviceStatus(state=state).to_json())
        wait_until(lambda: watcher.dropped == 2, "two to be dropped")
        messages = iter(watcher)
        assert [state_of(next(messages)) for _ in range(3)] == [
            DeviceState.FAULT,
            DeviceState.ONLINE,
            DeviceState.OFFLINE,
        ]


def test_waiting_heatmaps_are_bounded_by_their_bytes(config, ear):
    jpeg = insert_comment(b"\xff\xd8\xff" + bytes(1000), heatmap_info(inspection()).to_json())
    with Watcher(config, device=config.device, max_waiting_bytes=2 * len(jpeg)) as watcher:
        for _ in range(4):
            ear.send(config.topics.heatmap, jpeg)
        wait_until(lambda: watcher.dropped == 2, "two to be dropped")


def test_it_subscribes_again_after_the_broker_was_away(own_broker: Mosquitto, config, caplog):
    caplog.set_level(logging.INFO)
    config = config.model_copy(update={"broker": own_broker.url})
    with Watcher(config) as watcher:
        own_broker.stop()
        wait_until(lambda: "lost" in caplog.text, "the connection to be lost")
        own_broker.start()
        wait_until(lambda: "again" in caplog.text, "the connection to be back")
        with Ear(own_broker.port, f"{config.prefix}/#") as ear:
            ear.send(config.topics.status, DeviceStatus(state=DeviceState.ONLINE).to_json(), retain=True)
        assert next(iter(watcher)).message == DeviceStatus(state=DeviceState.ONLINE)


def test_a_stop_event_ends_a_silent_watch(config):
    stop = threading.Event()
    with Watcher(config, device=config.device, stop=stop) as watcher:
        threading.Timer(0.05, stop.set).start()
        assert list(watcher) == []


def test_errors_before_it_begins(config, tmp_path):
    with pytest.raises(InputError, match="one level"):
        Watcher(config, device="a/b")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--save"), Watcher(config, save=tmp_path / "file"):
        pass
    nowhere = config.model_copy(update={"broker": f"127.0.0.1:{free_port()}"})
    with pytest.raises(InputError, match="refused"), Watcher(nowhere, save=tmp_path / "record"):
        pass

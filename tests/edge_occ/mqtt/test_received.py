from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection, render

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.messages import event_message, heatmap_info, score_message
from edge_occ.mqtt.payload_base import Message
from edge_occ.mqtt.payloads import DeviceState, DeviceStatus
from edge_occ.mqtt.received import MAX_BYTES, Received, format_line, read_payload
from edge_occ.mqtt.stats_payload import Queues, QueueStats, Stats

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=timezone.utc)


def received(
    message: Message, kind: str, *, device: str = "cam", camera=None, jpeg: bytes | None = None, retained: bool = False
):
    return Received(f"p/{device}/{kind}", "", device, camera, kind, message, jpeg, MOMENT, 1.0, retained)


def test_payloads_are_read_by_the_kind_of_their_topic():
    score = score_message(inspection(3, name="a.png"), 1.5)
    assert read_payload("a/b/cam/score", score.to_json(), "a/b") == (("", "cam", None, "score"), score)
    assert read_payload("a/b/cam/left/score", score.to_json(), "a/b") == (("", "cam", "left", "score"), score)
    info = heatmap_info(inspection(3))
    assert read_payload("p/c/heatmap", insert_comment(render(inspection(3)), info.to_json()), "p") == (
        ("", "c", None, "heatmap"),
        info,
    )


@pytest.mark.parametrize(
    ("topic", "payload", "words"),
    [
        ("p/cam/score", b"", "score: "),
        ("p/cam/score", b"\xff", "score: "),
        ("p/cam/score", b"[" * 100_000, "score: "),
        ("p/cam/score", b"{}", "frame: Field required"),
        ("p/cam/status", b'{"schema":"edge-occ/status/2","state":"online"}', "schema: "),
        ("p/cam/status", b'{"schema":"edge-occ/status/1","state":"dancing"}', "state: "),
        ("p/cam/status", b"online", "status: "),
        ("p/cam/event", b" " * (MAX_BYTES + 1), "more than"),
        ("p/cam/heatmap", b"\x89PNG", "not a JPEG"),
        ("p/cam/heatmap", b"\xff\xd8\xff\xd9", "heatmap: "),
        ("p/cam/command", b"{}", "not a topic"),
        ("other/cam/score", b"{}", "not a topic"),
    ],
)
def test_a_payload_that_does_not_match_its_schema_is_a_value_error(topic, payload, words):
    with pytest.raises(ValueError, match=words):
        read_payload(topic, payload, "p")


@given(st.sampled_from(["score", "event", "status", "stats", "heatmap"]), st.binary(max_size=100), st.booleans())
def test_no_payload_raises_anything_else(kind, payload, as_jpeg):
    if as_jpeg:
        payload = insert_comment(b"\xff\xd8\xff\xd9", payload)
    with pytest.raises(ValueError, match=r"."):
        read_payload(f"p/cam/{kind}", payload, "p")


@pytest.mark.parametrize("frame", ["1e400", "-1", "1" * 4000, '"../../etc"', "9007199254740992"])
def test_frame_numbers_outside_their_range_are_refused(frame):
    text = heatmap_info(inspection()).to_json().replace(b'"frame":0', b'"frame":' + frame.encode())
    with pytest.raises(ValueError, match="frame: "):
        read_payload("p/cam/heatmap", insert_comment(render(inspection()), text), "p")


def test_a_line_of_json_has_topic_time_and_payload():
    score = score_message(inspection(3, name="\u00e9.png"), 1.5)
    line = json.loads(received(score, "score").to_json())
    assert line == {
        "topic": "p/cam/score",
        "received_at": "2026-01-02T03:04:05.678000+00:00",
        "retained": False,
        "payload": json.loads(score.to_json()),
    }


def test_a_line_for_each_kind():
    wrong = inspection(7, 2.5, event=Phase.START, name="x.png")
    queue = QueueStats(depth=0, dropped=2)
    stats = Stats(
        sent_at=MOMENT, frames=9, fps=12.34, dropped=1, queues=Queues(score=queue, event=queue, heatmap=queue),
        latency_p50_ms=1, engine="cpu", bundle="b",
    )  # fmt: skip
    lines = [
        format_line(received(DeviceStatus(state=DeviceState.FAULT, detail="dark"), "status", retained=True)),
        format_line(received(score_message(wrong, 12.34), "score")),
        format_line(received(event_message(wrong, historical=True), "event")),
        format_line(received(heatmap_info(wrong), "heatmap", jpeg=bytes(2048))),
        format_line(received(stats, "stats")),
        format_line(received(stats.model_copy(update={"drift_alarm": 1, "drift_log10": 3.26}), "stats")),
        format_line(received(DeviceStatus(state=DeviceState.ONLINE), "status", camera="left")),
    ]
    assert lines == [
        "03:04:05.678Z  cam  status   fault  dark (retained)",
        "03:04:05.678Z  cam  score    frame 000007 x.png  anomalous  score 2.5  p 0.25  12.3 ms",
        "03:04:05.678Z  cam  event    frame 000007 x.png  start   event-7  peak 2.5  frames 1  boxes 1  historical",
        "03:04:05.678Z  cam  heatmap  frame 000007 x.png  anomalous  score 2.5  2 KiB",
        "03:04:05.678Z  cam  stats    12.3 fps  frames 9  dropped 1+6  p95 -",
        "03:04:05.678Z  cam  stats    12.3 fps  frames 9  dropped 1+6  p95 -  drift 10^3.3",
        "03:04:05.678Z  cam/left  status   online",
    ]


@given(st.text(max_size=20))
def test_nothing_from_the_network_controls_the_terminal(text):
    line = format_line(received(DeviceStatus(state=DeviceState.ONLINE, detail=text), "status", device=f"\x1b[2J{text}"))
    assert line.isprintable()

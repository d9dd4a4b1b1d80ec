from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from mqtt_helpers import inspection
from pydantic import ValidationError

from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import EvidenceNames, EvidencePaths
from edge_occ.inspection.result import Box
from edge_occ.mqtt.messages import event_message, heatmap_info, interrupted_end, score_message
from edge_occ.mqtt.payloads import MAX_BOXES, PAYLOADS, DeviceState, DeviceStatus, Score
from edge_occ.mqtt.schemas import json_schemas, published, write_schemas
from edge_occ.mqtt.stats_payload import Queues, QueueStats, Stats
from edge_occ.mqtt.topics import Origin
from edge_occ.sources.faults import Reason

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


ORIGIN = Origin("station-7", "left")

QUEUE = QueueStats(depth=0, dropped=0)
STATS = Stats(
    device="station-7", camera="left", sent_at=datetime(2026, 1, 2, 3, 4, 5, 678_000, timezone.utc), frames=1, fps=1.0,
    dropped=0, queues=Queues(score=QUEUE, event=QUEUE, heatmap=QUEUE), engine="cpu", bundle="b",
)  # fmt: skip

MESSAGES = {
    "status": DeviceStatus(device="station-7", camera="left", ts=1_767_323_045_678, state=DeviceState.ONLINE),
    "score": score_message(inspection(), 1.0, ORIGIN),
    "event": event_message(inspection(event=Phase.START), ORIGIN),
    "heatmap": heatmap_info(inspection(), ORIGIN),
    "stats": STATS,
}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_every_payload_begins_with_its_schema_and_origin(kind):
    message = MESSAGES[kind]
    payload = json.loads(message.to_json())
    assert list(payload)[:3] == ["schema", "device", "camera"]
    assert (payload["schema"], payload["device"], payload["camera"]) == (f"edge-occ/{kind}/1", "station-7", "left")
    assert isinstance(payload["ts"], int)
    assert PAYLOADS[kind].model_validate_json(message.to_json()) == message


@pytest.mark.parametrize("kind", PAYLOADS)
def test_unknown_keys_of_newer_versions_are_ignored(kind):
    payload = {**json.loads(MESSAGES[kind].to_json()), "colour": "red", "lens": {"f": 8}}
    assert PAYLOADS[kind].model_validate(payload) == MESSAGES[kind]


@pytest.mark.parametrize("kind", PAYLOADS)
def test_messages_of_older_versions_without_the_flat_keys_are_read(kind):
    payload = json.loads(MESSAGES[kind].to_json())
    older = {key: payload[key] for key in payload.keys() - {"device", "camera", "ts", "anomalous", "event_type"}}
    read = PAYLOADS[kind].model_validate(older)
    assert (read.device, read.camera) == ("", "")
    assert read.model_dump()["ts"] == (0 if kind == "status" else payload["ts"])


def test_scores_of_older_versions_have_no_review_band():
    older = {key: value for key, value in json.loads(MESSAGES["score"].to_json()).items() if key != "review_threshold"}
    assert Score.model_validate(older) == MESSAGES["score"]


@pytest.mark.parametrize(
    ("score", "review", "verdict", "anomalous", "published"),
    [
        (0.5, None, "normal", 0, 1.0),
        (0.5, 0.5, "normal", 0, 0.5),
        (0.6, 0.5, "review", 0, 0.5),
        (1.0, 0.5, "review", 0, 0.5),
        (1.1, 0.5, "anomalous", 1, 0.5),
    ],
)
def test_a_frame_for_review_is_not_anomalous(score, review, verdict, anomalous, published):
    plain = inspection(score=score)
    shown = replace(plain, verdict=replace(plain.verdict, review_threshold=review))
    payload = json.loads(score_message(shown, 1.0).to_json())
    assert (payload["verdict"], payload["anomalous"], payload["review_threshold"]) == (verdict, anomalous, published)
    assert heatmap_info(shown).verdict.value == verdict


def test_an_event_has_its_duration():
    plain = inspection(event=Phase.UPDATE, score=2)
    assert plain.event is not None
    shown = replace(plain, event=replace(plain.event, seconds=1.23456))
    assert event_message(shown).duration_s == 1.235


def test_stats_of_older_versions_have_null_before_the_first_score():
    older = {**json.loads(STATS.to_json()), "latency_p50_ms": None, "latency_p95_ms": None}
    assert Stats.model_validate(older).latency_p95_ms == 0


def test_stats_count_every_reason_of_a_fault():
    assert {f"faults_{reason.value.replace(' ', '_')}" for reason in Reason} <= Stats.model_fields.keys()


def test_ts_is_in_epoch_milliseconds():
    assert STATS.ts == 1_767_323_045_678
    frame = replace(inspection().frame, captured_at=STATS.sent_at)
    assert score_message(replace(inspection(), frame=frame), 0).ts == 1_767_323_045_678


def test_no_key_changes_its_type_with_its_value():
    """A time series database takes the type of a key from its first value: no null before a number."""
    for kind, schema in json_schemas().items():
        for name, field in schema.get("properties", {}).items():
            types = {option.get("type") for option in field.get("anyOf", [field])}
            assert not ("null" in types and types & {"number", "integer"}), f"{kind}: {name}"


@pytest.mark.parametrize(("phase", "anomalous"), [(Phase.START, 1), (Phase.UPDATE, 1), (Phase.END, 0)])
def test_an_event_has_its_phase_as_event_type_and_is_anomalous_until_its_end(phase, anomalous):
    payload = json.loads(event_message(inspection(3, 2.0, event=phase)).to_json())
    assert (payload["event_type"], payload["phase"]) == (phase.value, phase.value)
    assert payload["anomalous"] == anomalous


def test_an_interrupted_event_ends_in_every_key():
    payload = json.loads(interrupted_end(event_message(inspection(3, 2.0, event=Phase.START), ORIGIN)).to_json())
    assert (payload["event_type"], payload["phase"], payload["anomalous"]) == ("end", "end", 0)
    assert (payload["device"], payload["camera"]) == ORIGIN


def test_a_score_has_the_values_of_its_inspection():
    shown = inspection(7, 1.5, name="bottle.png")
    payload = json.loads(score_message(shown, 12.3456, ORIGIN).to_json())
    captured = payload.pop("captured_at")
    assert payload == {
        "schema": "edge-occ/score/1",
        "device": "station-7",
        "camera": "left",
        "ts": round(shown.frame.captured_at.timestamp() * 1000),
        "frame": 7,
        "name": "bottle.png",
        "score": 1.5,
        "p_value": 0.25,
        "threshold": 1.0,
        "review_threshold": 1.0,
        "verdict": "anomalous",
        "anomalous": 1,
        "verdict_ms": 0.0,
        "latency_ms": 12.346,
    }
    assert captured.endswith("Z")
    assert datetime.fromisoformat(captured.replace("Z", "+00:00")) == shown.frame.captured_at
    assert score_message(inspection(), 0).anomalous == 0


def test_times_are_utc_and_never_naive():
    east = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    frame = replace(inspection().frame, captured_at=east)
    assert b'"captured_at":"2026-01-02T01:04:05Z"' in score_message(replace(inspection(), frame=frame), 0).to_json()
    naive = replace(frame, captured_at=east.replace(tzinfo=None))
    with pytest.raises(ValidationError):
        score_message(replace(inspection(), frame=naive), 0)


def test_undecodable_bytes_of_a_file_name_become_question_marks():
    assert score_message(inspection(name="caf\udce9.png"), 0).name == "caf?.png"


def test_a_score_that_is_not_finite_is_refused():
    with pytest.raises(ValidationError):
        score_message(inspection(score=float("nan")), 0)


def test_messages_are_immutable_and_of_a_known_schema():
    message = score_message(inspection(), 0)
    with pytest.raises(ValidationError):
        setattr(message, "frame", 3)  # noqa: B010 - the type checker refuses the assignment too
    with pytest.raises(ValidationError):
        Score.model_validate({**json.loads(message.to_json()), "schema": "edge-occ/score/2"})


def test_an_event_carries_the_worst_boxes_only():
    boxes = tuple(Box(n, 0, 1, 1, 100 - n) for n in range(1000))
    message = event_message(replace(inspection(3, 2.0, event=Phase.UPDATE), boxes=boxes), historical=True)
    assert [box.x for box in message.boxes] == list(range(MAX_BOXES))
    assert (message.id, message.phase, message.peak, message.historical) == ("event-3", Phase.UPDATE, 2.0, True)
    assert len(message.to_json()) < 8192
    with pytest.raises(ValueError, match="without an event"):
        event_message(inspection(), historical=False)


def test_an_event_names_its_evidence_or_nothing():
    shown = inspection(3, 2.0, event=Phase.START)
    without = json.loads(event_message(shown).to_json())
    assert {key: without[key] for key in EvidencePaths._fields} == dict.fromkeys(EvidencePaths._fields, "")
    paths = EvidenceNames("left").paths(shown)
    payload = json.loads(event_message(shown, ORIGIN, paths).to_json())
    assert {key: payload[key] for key in EvidencePaths._fields} == paths._asdict()
    interrupted = interrupted_end(event_message(shown, ORIGIN, paths))
    assert interrupted.evidence_frame == paths.evidence_frame


def test_messages_of_older_versions_have_no_evidence():
    payload = json.loads(MESSAGES["event"].to_json())
    older = {key: value for key, value in payload.items() if not key.startswith("evidence_")}
    assert PAYLOADS["event"].model_validate(older) == MESSAGES["event"]


def test_published_schemas_are_those_of_the_code():
    files = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in SCHEMAS.glob("*.json")}
    assert files == published(), "run: make docs"


def test_schemas_describe_every_field(tmp_path):
    files = {file.stem: file for file in write_schemas(tmp_path)}
    assert files.keys() == published().keys()
    for kind in json_schemas():
        file = files[kind]
        schema = json.loads(file.read_text(encoding="utf-8"))
        assert schema["$schema"].endswith("2020-12/schema")
        if file.stem == "command":  # received, not sent
            assert all(request["additionalProperties"] is False for request in schema["$defs"].values())
            continue
        assert "additionalProperties" not in schema  # a newer version may add keys
        assert {"schema", "device", "camera", "ts"} <= set(schema["required"])
        for part in (schema, *schema.get("$defs", {}).values()):
            for name, field in part.get("properties", {}).items():
                assert field.get("description") or "$ref" in field, f"{file.stem}: {name}"

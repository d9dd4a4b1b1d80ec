from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from mqtt_helpers import inspection
from pydantic import ValidationError

from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Box
from edge_occ.mqtt.messages import (
    MAX_BOXES,
    PAYLOADS,
    DeviceState,
    DeviceStatus,
    Score,
    event_message,
    heatmap_info,
    json_schemas,
    score_message,
    write_schemas,
)

SCHEMAS = Path(__file__).parents[3] / "docs" / "schemas"


def test_every_payload_says_its_schema_first():
    for message in (
        DeviceStatus(state=DeviceState.ONLINE),
        score_message(inspection(), 1.0),
        event_message(inspection(event=Phase.START), historical=False),
        heatmap_info(inspection()),
    ):
        payload = json.loads(message.to_json())
        kind = {"HeatmapInfo": "heatmap"}.get(type(message).__name__, type(message).__name__.lower())
        assert next(iter(payload)) == "schema"
        assert payload["schema"] == f"edge-occ/{kind}/1"
        assert PAYLOADS[kind].model_validate_json(message.to_json()) == message


def test_a_score_is_the_inspections():
    shown = inspection(7, 1.5, name="bottle.png")
    payload = json.loads(score_message(shown, 12.3456).to_json())
    captured = payload.pop("captured_at")
    assert payload == {
        "schema": "edge-occ/score/1",
        "frame": 7,
        "name": "bottle.png",
        "score": 1.5,
        "p_value": 0.25,
        "threshold": 1.0,
        "verdict": "anomalous",
        "verdict_ms": 0.0,
        "latency_ms": 12.346,
    }
    assert captured.endswith("Z")
    assert datetime.fromisoformat(captured.replace("Z", "+00:00")) == shown.frame.captured_at


def test_moments_are_utc_and_never_naive():
    east = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
    frame = replace(inspection().frame, captured_at=east)
    assert b'"captured_at":"2026-01-02T01:04:05Z"' in score_message(replace(inspection(), frame=frame), 0).to_json()
    naive = replace(frame, captured_at=east.replace(tzinfo=None))
    with pytest.raises(ValidationError):
        score_message(replace(inspection(), frame=naive), 0)


def test_a_file_name_of_any_bytes_can_be_told():
    assert score_message(inspection(name="caf\udce9.png"), 0).name == "caf?.png"


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(ValidationError):
        score_message(inspection(score=float("nan")), 0)


def test_messages_are_strict_and_immutable():
    message = score_message(inspection(), 0)
    with pytest.raises(ValidationError):
        message.frame = 3
    with pytest.raises(ValidationError):
        Score.model_validate({**json.loads(message.to_json()), "colour": "red"})
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


def test_published_schemas_are_those_of_the_code():
    files = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in SCHEMAS.glob("*.json")}
    assert files == json_schemas(), f"run: python -c 'from {write_schemas.__module__} import *; write_schemas(...)'"


def test_schemas_describe_every_field(tmp_path):
    for file in write_schemas(tmp_path):
        schema = json.loads(file.read_text(encoding="utf-8"))
        assert schema["$schema"].endswith("2020-12/schema")
        assert "schema" in schema["required"]
        assert schema["additionalProperties"] is False
        for part in (schema, *schema.get("$defs", {}).values()):
            for name, field in part.get("properties", {}).items():
                assert field.get("description") or "$ref" in field, f"{file.stem}: {name}"

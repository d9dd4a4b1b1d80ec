"""What is published: a model of every JSON payload, and its JSON Schema."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat

from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Inspection

MOST_BOXES = 32
"""Boxes an event carries at most, the worst first, so that one message stays small whatever the picture."""


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A moment, written as RFC 3339 in UTC."""

_MOST = 2**53 - 1
FrameNumber = Annotated[int, Field(ge=0, le=_MOST, description="Number of the frame in its source; gaps are drops.")]
CapturedAt = Annotated[UtcTime, Field(description="Moment of capture, RFC 3339, UTC.")]
SourceName = Annotated[str | None, Field(description="File name of the frame, null for a camera.")]
Quantile = Annotated[
    FiniteFloat | None, Field(ge=0, description="Quantile of latency_ms; null before the first score.")
]


class State(str, Enum):
    """What a device is doing."""

    ONLINE = "online"
    OFFLINE = "offline"
    BUILDING = "building"
    FAULT = "fault"


class VerdictName(str, Enum):
    """What a frame is."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"


class Payload(BaseModel):
    """One message; immutable, and strict about its fields."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", populate_by_name=True, json_schema_serialization_defaults_required=True
    )

    def to_json(self) -> bytes:
        """Compact UTF-8 JSON."""
        return self.model_dump_json(by_alias=True).encode()


class Status(Payload):
    """Presence of a device; retained, also its will."""

    schema_: Literal["edge-occ/status/1"] = Field("edge-occ/status/1", alias="schema", description="Kind and version.")
    state: State = Field(description="offline, online, building an engine, or faulty.")
    detail: str | None = Field(None, max_length=1000, description="More words about the state, for people.")


class Score(Payload):
    """What one frame scored."""

    schema_: Literal["edge-occ/score/1"] = Field("edge-occ/score/1", alias="schema", description="Kind and version.")
    frame: FrameNumber
    name: SourceName = None
    captured_at: CapturedAt
    score: FiniteFloat = Field(description="Image score; higher is more anomalous.")
    p_value: FiniteFloat = Field(ge=0, le=1, description="Share of good parts expected to score at least this high.")
    threshold: FiniteFloat = Field(description="Score above which a frame is anomalous.")
    verdict: VerdictName = Field(description="What the frame is.")
    verdict_ms: FiniteFloat = Field(0, ge=0, description="From capture to verdict, milliseconds.")
    latency_ms: FiniteFloat = Field(
        ge=0, description="From capture to hand-over to the MQTT client, or to standard output; milliseconds."
    )


class EventBox(Payload):
    """A rectangle of the frame, in pixels."""

    x: int = Field(description="Left edge.")
    y: int = Field(description="Upper edge.")
    width: int = Field(ge=0, description="Width.")
    height: int = Field(ge=0, description="Height.")
    peak: FiniteFloat = Field(description="Highest score in the box.")


class Event(Payload):
    """A change of an event; delivered at least once, so a repetition has the same id, phase and frame."""

    schema_: Literal["edge-occ/event/1"] = Field("edge-occ/event/1", alias="schema", description="Kind and version.")
    id: str = Field(description="The same from start to end, different for every event.")
    phase: Phase = Field(description="start, update (a new peak) or end.")
    peak: FiniteFloat = Field(description="Highest score so far.")
    frames: int = Field(ge=1, description="Frames since the start, the first included.")
    frame: FrameNumber
    name: SourceName = None
    captured_at: CapturedAt
    boxes: tuple[EventBox, ...] = Field(max_length=MOST_BOXES, description="Where, the worst first.")
    historical: bool = Field(description="Raised while the broker was out of reach, or more than 5 s ago: not news.")
    reason: Literal["interrupted"] | None = Field(
        None,
        description="interrupted: the inspector was cut off during the event, and ended it at its next start, "
        "with frame and captured_at of the last message before; null for any other message.",
    )


class HeatmapInfo(Payload):
    """What a heatmap says of itself, in a comment (COM) segment of the JPEG; MQTT 5 user properties say it too."""

    schema_: Literal["edge-occ/heatmap/1"] = Field(
        "edge-occ/heatmap/1", alias="schema", description="Kind and version."
    )
    frame: FrameNumber
    name: SourceName = None
    captured_at: CapturedAt
    score: FiniteFloat = Field(description="Image score; higher is more anomalous.")
    verdict: VerdictName = Field(description="What the frame is.")

    def to_tags(self) -> dict[str, str]:
        """The same as MQTT 5 user properties, without what is unknown."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return {key: str(value) for key, value in fields.items()}


class QueueState(Payload):
    """One of the queues between the frames and the broker."""

    depth: int = Field(ge=0, description="Messages that wait.")
    dropped: int = Field(
        ge=0, description="Messages lost since the start, because the broker was slow or out of reach."
    )


class Queues(Payload):
    """All queues between the frames and the broker."""

    score: QueueState
    event: QueueState
    heatmap: QueueState


class Stats(Payload):
    """Rates, drops and latencies of a device; retained."""

    schema_: Literal["edge-occ/stats/1"] = Field("edge-occ/stats/1", alias="schema", description="Kind and version.")
    sent_at: Annotated[UtcTime, Field(description="When this was counted, RFC 3339, UTC.")]
    frames: int = Field(ge=0, description="Frames inspected since the start.")
    fps: FiniteFloat = Field(ge=0, description="Frames inspected a second, since the statistics before these.")
    dropped: int = Field(ge=0, description="Frames that the source dropped since the start.")
    faults: int = Field(0, ge=0, description="Frames that were not inspected since the start: the ten that follow.")
    faults_unreadable: int = Field(0, ge=0, description="The source could not decode them, or their files have gone.")
    faults_frame: int = Field(0, ge=0, description="They are no pictures of 8 bits and three colours.")
    faults_engine: int = Field(0, ge=0, description="An error was raised while they were scored.")
    faults_score: int = Field(0, ge=0, description="Their score or score map was not finite.")
    faults_black: int = Field(0, ge=0, description="They were far darker and flatter than every training image.")
    faults_white: int = Field(0, ge=0, description="They were far brighter and flatter than every training image.")
    faults_uniform: int = Field(0, ge=0, description="They had one colour.")
    faults_grey: int = Field(0, ge=0, description="They had no colours, as the training images have.")
    faults_torn: int = Field(0, ge=0, description="A part of their rows repeated the row above.")
    faults_frozen: int = Field(0, ge=0, description="They equalled the camera's frames before, pixel by pixel.")
    output_lost: int = Field(0, ge=0, description="What an output on the device, such as its log, could not take.")
    silent_s: FiniteFloat = Field(0, ge=0, description="Seconds since a frame was inspected, or since the start.")
    queues: Queues = Field(description="The queues between the frames and the broker.")
    queue_score_depth: int = Field(0, ge=0, description="Scores that wait or that the broker has not confirmed.")
    queue_score_age_s: FiniteFloat = Field(0, ge=0, description="Seconds since the capture of the oldest that waits.")
    queue_event_depth: int = Field(
        0, ge=0, description="Event messages that wait or that the broker has not confirmed."
    )
    queue_event_age_s: FiniteFloat = Field(0, ge=0, description="Seconds since the capture of the oldest of them.")
    queue_heatmap_depth: int = Field(0, ge=0, description="Heatmaps that wait or that the broker has not confirmed.")
    events_refused: int = Field(0, ge=0, description="Event messages that the broker answered not to take.")
    latency_p50_ms: Quantile
    latency_p95_ms: Quantile
    engine: str = Field(description="Runtime and precision.")
    bundle: str = Field(description="Name of the bundle.")


PAYLOADS: dict[str, type[Payload]] = {
    "status": Status,
    "score": Score,
    "event": Event,
    "heatmap": HeatmapInfo,
    "stats": Stats,
}
"""Model of the JSON of each kind of topic; of a heatmap, the JSON inside the JPEG."""


def score_message(inspection: Inspection, latency_ms: float) -> Score:
    """The score of an inspection, ``latency_ms`` after its capture."""
    frame, verdict = inspection.frame, inspection.verdict
    return Score(
        frame=frame.index,
        name=_file_name(inspection),
        captured_at=frame.captured_at,
        score=verdict.score,
        p_value=verdict.p_value,
        threshold=verdict.threshold,
        verdict=_verdict_name(inspection),
        verdict_ms=round(max(inspection.verdict_ms, 0.0), 3),
        latency_ms=round(max(latency_ms, 0.0), 3),
    )


def event_message(inspection: Inspection, *, historical: bool = False) -> Event:
    """The change of an event that an inspection brought.

    Raises:
        ValueError: the inspection brought none.
    """
    change, frame = inspection.event, inspection.frame
    if change is None:
        raise ValueError("an inspection without an event has no event message")
    return Event(
        id=change.id,
        phase=change.phase,
        peak=change.peak,
        frames=change.frames,
        frame=frame.index,
        name=_file_name(inspection),
        captured_at=frame.captured_at,
        boxes=tuple(
            EventBox(x=box.x, y=box.y, width=box.width, height=box.height, peak=box.peak)
            for box in inspection.boxes[:MOST_BOXES]
        ),
        historical=historical,
    )


def interrupted_end(event: Event) -> Event:
    """The end of an event that the inspector was cut off in, told afterwards."""
    return event.model_copy(update={"phase": Phase.END, "boxes": (), "historical": True, "reason": "interrupted"})


def heatmap_info(inspection: Inspection) -> HeatmapInfo:
    """What the heatmap of an inspection says of itself."""
    return HeatmapInfo(
        frame=inspection.frame.index,
        name=_file_name(inspection),
        captured_at=inspection.frame.captured_at,
        score=inspection.verdict.score,
        verdict=_verdict_name(inspection),
    )


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) of each kind of payload, as it is published."""
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {kind: {**draft, **model.model_json_schema(mode="serialization")} for kind, model in PAYLOADS.items()}


def write_schemas(folder: Path) -> list[Path]:
    """Write ``<kind>.json`` for each kind of payload into ``folder``; gives the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind, schema in json_schemas().items():
        file = folder / f"{kind}.json"
        file.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        files.append(file)
    return files


def _verdict_name(inspection: Inspection) -> VerdictName:
    return VerdictName.ANOMALOUS if inspection.verdict.anomalous else VerdictName.NORMAL


def _file_name(inspection: Inspection) -> str | None:
    """The frame's name as valid Unicode: a file name may be any bytes, which Python holds as lone surrogates."""
    name = inspection.frame.name
    return None if name is None else name.encode("utf-8", "replace").decode("utf-8")

"""Models of the JSON payloads."""

from __future__ import annotations

from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    computed_field,
    model_validator,
)

from edge_occ.inspection.events import Phase

MAX_BOXES = 32
"""Boxes in an event message, the highest score first: bounds the size of a message."""


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc)


def _epoch_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


UtcTime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""Date and time in UTC, written as RFC 3339."""

_MAX_INTEGER = 2**53 - 1  # what a double holds exactly, as JavaScript reads every number
FrameNumber = Annotated[
    int, Field(ge=0, le=_MAX_INTEGER, description="Index of the frame in its source; dropped frames leave gaps.")
]
CapturedAt = Annotated[UtcTime, Field(description="Time of capture, RFC 3339, UTC.")]
SourceName = Annotated[str | None, Field(description="File name of the frame, null for a camera.")]
Quantile = Annotated[
    FiniteFloat,
    BeforeValidator(lambda value: 0.0 if value is None else value),  # null before the first score, until version 0.1
    Field(
        ge=0,
        description="Quantile in milliseconds within 2 %, of the latest 5,000 to 10,000 values; 0 before the first.",
    ),
]


class DeviceState(str, Enum):
    """State of a device."""

    ONLINE = "online"
    OFFLINE = "offline"
    BUILDING = "building"
    FAULT = "fault"


class VerdictName(str, Enum):
    """Verdict on a frame."""

    NORMAL = "normal"
    REVIEW = "review"
    ANOMALOUS = "anomalous"


class Payload(BaseModel):
    """An immutable part of a message.  Unknown keys are ignored: newer versions may add some."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, json_schema_serialization_defaults_required=True
    )

    def to_json(self) -> bytes:
        """Return compact UTF-8 JSON."""
        return self.model_dump_json(by_alias=True).encode()


class Message(Payload):
    """A whole message: schema and origin come first in every one."""

    schema_: str = Field(alias="schema", description="Kind and version.")
    device: str = Field("", description="Device, as in the topic.")
    camera: str = Field("", description="Camera, as in the topic; empty where the topic has no such level.")


class DeviceStatus(Message):
    """Presence of a device; retained, and also its will."""

    schema_: Literal["edge-occ/status/1"] = Field("edge-occ/status/1", alias="schema", description="Kind and version.")
    ts: int = Field(
        0,
        ge=0,
        le=_MAX_INTEGER,
        description="Epoch milliseconds of this state; of the will, when its connection began.",
    )
    state: DeviceState = Field(description="offline, online, building an engine, or faulty.")
    detail: str | None = Field(None, max_length=1000, description="Details of the state for people.")


class _OfFrame(Message):
    """A message about one frame."""

    frame: FrameNumber
    name: SourceName = None
    captured_at: CapturedAt

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ts(self) -> int:
        """Epoch milliseconds of the capture."""
        return _epoch_ms(self.captured_at)


class Score(_OfFrame):
    """Score and verdict of one frame."""

    schema_: Literal["edge-occ/score/1"] = Field("edge-occ/score/1", alias="schema", description="Kind and version.")
    score: FiniteFloat = Field(description="Image score; higher is more anomalous.")
    p_value: FiniteFloat = Field(ge=0, le=1, description="Share of good parts expected to score at least this high.")
    threshold: FiniteFloat = Field(description="Score above which a frame is anomalous.")
    review_threshold: FiniteFloat = Field(
        description="Score above which a frame that is not anomalous is for review; without a review band, threshold."
    )
    verdict: VerdictName = Field(description="Verdict on the frame.")
    verdict_ms: FiniteFloat = Field(0, ge=0, description="From capture to verdict, milliseconds.")
    latency_ms: FiniteFloat = Field(
        ge=0, description="From capture to hand-over to the MQTT client, or to standard output; milliseconds."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_older_inspectors(cls, content: object) -> object:
        """Accept messages without a review threshold, from before there was one."""
        if isinstance(content, dict) and "threshold" in content:
            return {"review_threshold": content["threshold"], **content}
        return content

    @computed_field  # type: ignore[prop-decorator]
    @property
    def anomalous(self) -> int:
        """1 if the verdict is anomalous, else 0."""
        return int(self.verdict is VerdictName.ANOMALOUS)


class EventBox(Payload):
    """A rectangle of the frame, in pixels."""

    x: int = Field(description="Left edge.")
    y: int = Field(description="Upper edge.")
    width: int = Field(ge=0, description="Width.")
    height: int = Field(ge=0, description="Height.")
    peak: FiniteFloat = Field(description="Highest score in the box.")


class Event(_OfFrame):
    """A change of an event; delivered at least once, so a repetition has the same id, phase and frame."""

    schema_: Literal["edge-occ/event/1"] = Field("edge-occ/event/1", alias="schema", description="Kind and version.")
    id: str = Field(description="The same from start to end, different for every event.")
    phase: Phase = Field(description="start, update (a new peak) or end.")
    peak: FiniteFloat = Field(description="Highest score so far.")
    frames: int = Field(ge=1, description="Frames since the start, the first included.")
    duration_s: FiniteFloat = Field(
        0, ge=0, description="Seconds from the capture of the frame that started the event to that of this one."
    )
    boxes: tuple[EventBox, ...] = Field(max_length=MAX_BOXES, description="Anomalous regions, highest score first.")
    historical: bool = Field(
        description="True if it happened while the broker was out of reach, or more than 5 s before it was sent."
    )
    reason: Literal["interrupted"] | None = Field(
        None,
        description="interrupted: the inspector was killed during the event and ended it at its next start, "
        "with frame and captured_at of the last message before; null for any other message.",
    )
    muted: bool = Field(
        False, description="True for an event that began while the command mute was in effect: no alarm."
    )
    evidence_frame: str = Field(
        "",
        description="Where the frame is kept, below the evidence folder; at the end, that of the highest peak. "
        "Empty without evidence. The file is written later, and is missing where it was lost or removed.",
    )
    evidence_heatmap: str = Field("", description="The same of the frame's heatmap.")
    evidence_record: str = Field("", description="The same of a JSON record of this message.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def anomalous(self) -> int:
        """1 while the event lasts, 0 at its end; 0 for a muted one."""
        return int(self.phase is not Phase.END and not self.muted)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def event_type(self) -> Phase:
        """Equal to phase."""
        return self.phase


class _OfPicture(_OfFrame):
    """Description of a picture, in a comment (COM) segment of its JPEG and in MQTT 5 user properties."""

    score: FiniteFloat = Field(description="Image score; higher is more anomalous.")
    verdict: VerdictName = Field(description="Verdict on the frame.")

    def to_user_properties(self) -> dict[str, str]:
        """Return MQTT 5 user properties: what is known and not in the topic."""
        fields = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"device", "camera"})
        return {key: str(value) for key, value in fields.items()}


class HeatmapInfo(_OfPicture):
    """Description of a heatmap, in a comment (COM) segment of its JPEG and in MQTT 5 user properties."""

    schema_: Literal["edge-occ/heatmap/1"] = Field(
        "edge-occ/heatmap/1", alias="schema", description="Kind and version."
    )


class SnapshotInfo(_OfPicture):
    """Description of a snapshot, in a comment (COM) segment of its JPEG and in MQTT 5 user properties."""

    schema_: Literal["edge-occ/snapshot/1"] = Field(
        "edge-occ/snapshot/1", alias="schema", description="Kind and version."
    )


class QueueStats(Payload):
    """One of the queues between the frames and the broker."""

    depth: int = Field(ge=0, description="Messages waiting or not confirmed.")
    dropped: int = Field(
        ge=0, description="Messages lost since the start, because the broker was slow or out of reach."
    )


class Queues(Payload):
    """All queues between the frames and the broker."""

    score: QueueStats
    event: QueueStats
    heatmap: QueueStats


class Stats(Message):
    """Rates, drops and latencies of a device; retained."""

    schema_: Literal["edge-occ/stats/1"] = Field("edge-occ/stats/1", alias="schema", description="Kind and version.")
    sent_at: Annotated[UtcTime, Field(description="Time of these statistics, RFC 3339, UTC.")]
    frames: int = Field(ge=0, description="Frames inspected since the start.")
    fps: FiniteFloat = Field(ge=0, description="Frames inspected a second, since the previous statistics.")
    dropped: int = Field(ge=0, description="Frames dropped by the source since the start.")
    faults: int = Field(0, ge=0, description="Frames not inspected since the start: sum of the next counts.")
    faults_unreadable: int = Field(0, ge=0, description="Frames that could not be decoded, or whose file is missing.")
    faults_frame: int = Field(0, ge=0, description="Frames that are not uint8 with three channels.")
    faults_engine: int = Field(0, ge=0, description="Frames during whose inspection an error was raised.")
    faults_score: int = Field(0, ge=0, description="Frames whose score or score map was not finite.")
    faults_black: int = Field(0, ge=0, description="Frames far darker and flatter than every training image.")
    faults_white: int = Field(0, ge=0, description="Frames far brighter and flatter than every training image.")
    faults_uniform: int = Field(0, ge=0, description="Frames of one colour.")
    faults_grey: int = Field(0, ge=0, description="Frames without colours, which the training images have.")
    faults_torn: int = Field(0, ge=0, description="Frames in which a part of the rows repeats the row above.")
    faults_blurred: int = Field(0, ge=0, description="Frames far less sharp than every training image.")
    faults_exposure: int = Field(
        0, ge=0, description="Frames far darker or brighter than every training image, though not flat."
    )
    faults_size: int = Field(0, ge=0, description="Frames of a camera in another size than the training images.")
    faults_frozen: int = Field(0, ge=0, description="Frames equal to the camera's frames before, pixel by pixel.")
    faults_no_part: int = Field(0, ge=0, description="Frames without a part before a plain ground.")
    faults_part_too_small: int = Field(0, ge=0, description="Frames with a fragment or dust in place of a part.")
    faults_several_parts: int = Field(0, ge=0, description="Frames with more than one part.")
    faults_part_at_the_edge: int = Field(0, ge=0, description="Frames that hold only a piece of the part.")
    faults_part_too_large: int = Field(0, ge=0, description="Frames whose part is larger than every good one.")
    faults_direction_undecided: int = Field(0, ge=0, description="Frames whose part does not show how it lies.")
    output_lost: int = Field(0, ge=0, description="Writes that failed on other outputs, such as standard output.")
    evidence_lost: int = Field(
        0, ge=0, description="Starts, peaks and ends of events whose evidence could not be kept since the start."
    )
    silent_s: FiniteFloat = Field(0, ge=0, description="Seconds since a frame was inspected, or since the start.")
    queues: Queues = Field(description="The queues between the frames and the broker.")
    queue_score_depth: int = Field(0, ge=0, description="Scores waiting or not confirmed.")
    queue_score_age_s: FiniteFloat = Field(0, ge=0, description="Seconds since the capture of the oldest one waiting.")
    queue_event_depth: int = Field(0, ge=0, description="Event messages waiting or not confirmed.")
    queue_event_age_s: FiniteFloat = Field(0, ge=0, description="Seconds since the capture of the oldest of them.")
    queue_heatmap_depth: int = Field(0, ge=0, description="Heatmaps waiting or not confirmed.")
    events_dropped: int = Field(0, ge=0, description="Event messages dropped because the outbox was full, or damaged.")
    outbox_bytes: int = Field(0, ge=0, description="Bytes of the event messages waiting or not confirmed.")
    outbox_failed: int = Field(
        0, ge=0, description="Event messages that waited in memory because the outbox could not be written."
    )
    events_refused: int = Field(0, ge=0, description="Event messages that the broker refused.")
    latency_p50_ms: Quantile = 0
    latency_p95_ms: Quantile = 0
    latency_p99_ms: Quantile = 0
    wait_p95_ms: Quantile = 0
    preprocess_p95_ms: Quantile = 0
    engine_p50_ms: Quantile = 0
    engine_p95_ms: Quantile = 0
    decide_p95_ms: Quantile = 0
    encode_p95_ms: Quantile = 0
    publish_p50_ms: Quantile = 0
    publish_p95_ms: Quantile = 0
    publish_p99_ms: Quantile = 0
    temperature_max_c: FiniteFloat = Field(
        0, description="Highest temperature of the device, degrees Celsius; 0 where it is not known."
    )
    throttled: int = Field(
        0, ge=0, le=1, description="1 while the system lowers clocks because of heat or current; 0 also if not known."
    )
    cpu_clock: FiniteFloat = Field(
        0,
        ge=0,
        description="Mean clock rate of the processors as a share of their highest; 0 where it is not known. An idle "
        "processor lowers it, too.",
    )
    drift_alarm: int = Field(0, ge=0, le=1, description="1 while frames differ from those of the calibration, else 0.")
    drift_log10: FiniteFloat = Field(
        0, ge=0, description="Evidence of drift as a power of ten; the alarm begins at log10(1 / drift.alpha)."
    )
    drift_psi: FiniteFloat = Field(
        0, ge=0, description="Population stability index of the latest scores; 0 until there are drift.window of them."
    )
    anomalous_share: FiniteFloat = Field(0, ge=0, le=1, description="Share of the latest drift.window frames.")
    declared_rate: FiniteFloat = Field(0, ge=0, le=1, description="Share of good parts expected to be anomalous.")
    engine: str = Field(description="Runtime and precision.")
    bundle: str = Field(description="Name of the bundle.")

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ts(self) -> int:
        """Epoch milliseconds of these statistics."""
        return _epoch_ms(self.sent_at)


PAYLOADS: dict[str, type[Message]] = {
    "status": DeviceStatus,
    "score": Score,
    "event": Event,
    "heatmap": HeatmapInfo,
    "stats": Stats,
}
"""Model of the JSON of each kind of topic; for heatmaps, of the JSON inside the JPEG."""

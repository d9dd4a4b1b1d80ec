"""Models of the JSON payloads."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, computed_field, model_validator

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.payload_base import MAX_INTEGER, Message, Payload, UtcTime, epoch_ms
from edge_occ.mqtt.stats_payload import Stats

MAX_BOXES = 32
"""Boxes in an event message, the highest score first: bounds the size of a message."""

FrameNumber = Annotated[
    int, Field(ge=0, le=MAX_INTEGER, description="Index of the frame in its source; dropped frames leave gaps.")
]
CapturedAt = Annotated[UtcTime, Field(description="Time of capture, RFC 3339, UTC.")]
SourceName = Annotated[str | None, Field(description="File name of the frame, null for a camera.")]


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


class DeviceStatus(Message):
    """Presence of a device; retained, and also its will."""

    schema_: Literal["edge-occ/status/1"] = Field("edge-occ/status/1", alias="schema", description="Kind and version.")
    ts: int = Field(
        0,
        ge=0,
        le=MAX_INTEGER,
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
        return epoch_ms(self.captured_at)


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


PAYLOADS: dict[str, type[Message]] = {
    "status": DeviceStatus,
    "score": Score,
    "event": Event,
    "heatmap": HeatmapInfo,
    "stats": Stats,
}
"""Model of the JSON of each kind of topic; for heatmaps, of the JSON inside the JPEG."""

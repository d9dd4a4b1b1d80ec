"""Model of the statistics' JSON."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, FiniteFloat, computed_field

from edge_occ.mqtt.payload_base import Message, Payload, UtcTime, epoch_ms

Quantile = Annotated[
    FiniteFloat,
    BeforeValidator(lambda value: 0.0 if value is None else value),  # null before the first score, until version 0.1
    Field(
        ge=0,
        description="Quantile in milliseconds within 2 %, of the latest 5,000 to 10,000 values; 0 before the first.",
    ),
]


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
    faults_repeated: int = Field(0, ge=0, description="Frames equal to the camera's frame before, pixel by pixel.")
    faults_frozen: int = Field(0, ge=0, description="The same, for many frames and seconds.")
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
    capture_p95_ms: Quantile = 0
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
        return epoch_ms(self.sent_at)

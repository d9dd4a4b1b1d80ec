"""Messages made from inspections."""

from __future__ import annotations

from typing import TypeVar

from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import EvidencePaths
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.payloads import MAX_BOXES, Event, EventBox, HeatmapInfo, Score, SnapshotInfo, VerdictName
from edge_occ.mqtt.topics import Origin

_Info = TypeVar("_Info", HeatmapInfo, SnapshotInfo)

_NO_ORIGIN = Origin()
_NO_EVIDENCE = EvidencePaths()


def score_message(inspection: Inspection, latency_ms: float, origin: Origin = _NO_ORIGIN) -> Score:
    """Return the score message of an inspection, ``latency_ms`` milliseconds after its capture."""
    frame, verdict = inspection.frame, inspection.verdict
    return Score(
        **origin._asdict(),
        frame=frame.index,
        name=_file_name(inspection),
        captured_at=frame.captured_at,
        score=verdict.score,
        p_value=verdict.p_value,
        threshold=verdict.threshold,
        review_threshold=verdict.threshold if verdict.review_threshold is None else verdict.review_threshold,
        verdict=VerdictName(verdict.name),
        verdict_ms=round(max(inspection.verdict_ms, 0.0), 3),
        latency_ms=round(max(latency_ms, 0.0), 3),
    )


def event_message(
    inspection: Inspection,
    origin: Origin = _NO_ORIGIN,
    evidence: EvidencePaths = _NO_EVIDENCE,
    *,
    historical: bool = False,
    muted: bool = False,
) -> Event:
    """Return the message of an inspection's event change, whose evidence is to be at ``evidence``.

    Raises:
        ValueError: the inspection has no event change.
    """
    change, frame = inspection.event, inspection.frame
    if change is None:
        raise ValueError("an inspection without an event has no event message")
    return Event(
        **origin._asdict(),
        id=change.id,
        phase=change.phase,
        peak=change.peak,
        frames=change.frames,
        duration_s=round(max(change.seconds, 0.0), 3),
        frame=frame.index,
        name=_file_name(inspection),
        captured_at=frame.captured_at,
        boxes=tuple(
            EventBox(x=box.x, y=box.y, width=box.width, height=box.height, peak=box.peak)
            for box in inspection.boxes[:MAX_BOXES]
        ),
        historical=historical,
        muted=muted,
        **evidence._asdict(),
    )


def interrupted_end(event: Event) -> Event:
    """Return the end of an event during which the inspector was killed, to be sent at the next start."""
    return event.model_copy(update={"phase": Phase.END, "boxes": (), "historical": True, "reason": "interrupted"})


def heatmap_info(inspection: Inspection, origin: Origin = _NO_ORIGIN) -> HeatmapInfo:
    """Return the description of an inspection's heatmap."""
    return _picture_info(HeatmapInfo, inspection, origin)


def snapshot_info(inspection: Inspection, origin: Origin = _NO_ORIGIN) -> SnapshotInfo:
    """Return the description of a snapshot of an inspection's frame."""
    return _picture_info(SnapshotInfo, inspection, origin)


def _picture_info(kind: type[_Info], inspection: Inspection, origin: Origin) -> _Info:
    return kind(
        **origin._asdict(),
        frame=inspection.frame.index,
        name=_file_name(inspection),
        captured_at=inspection.frame.captured_at,
        score=inspection.verdict.score,
        verdict=VerdictName(inspection.verdict.name),
    )


def _file_name(inspection: Inspection) -> str | None:
    """Return the frame's name as valid Unicode: in Python, a file name's undecodable bytes are lone surrogates."""
    name = inspection.frame.name
    return None if name is None else name.encode("utf-8", "replace").decode("utf-8")

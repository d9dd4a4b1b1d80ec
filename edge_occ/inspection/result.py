"""The value that travels from the inspector to its sinks: one frame, what it scored and what that means."""

from __future__ import annotations

from dataclasses import dataclass

from edge_occ.bundle.conformal import Verdict
from edge_occ.inspection.events import EventChange
from edge_occ.sources.frame import Frame
from engines.base import Scores


@dataclass(frozen=True)
class Box:
    """A rectangle of the frame in pixels, with the highest score in it."""

    x: int
    y: int
    width: int
    height: int
    peak: float


@dataclass(frozen=True)
class Inspection:
    """One inspected frame.

    Attributes:
        boxes: where the score map exceeds the threshold, the worst first; empty for a normal frame.
        event: what this frame did to the line's event, if anything.
        verdict_ms: from capture to verdict, milliseconds.
    """

    frame: Frame
    scores: Scores
    verdict: Verdict
    boxes: tuple[Box, ...] = ()
    event: EventChange | None = None
    verdict_ms: float = 0.0

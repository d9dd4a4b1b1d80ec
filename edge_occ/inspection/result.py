"""The result of an inspection, which the inspector gives to its sinks: a frame, its scores and its verdict."""

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
        boxes: regions of the score map above the threshold, the highest peak first; empty for a normal frame.
        event: change of the line's event at this frame, if any.
        verdict_ms: time from capture to verdict, milliseconds.
    """

    frame: Frame
    scores: Scores
    verdict: Verdict
    boxes: tuple[Box, ...] = ()
    event: EventChange | None = None
    verdict_ms: float = 0.0

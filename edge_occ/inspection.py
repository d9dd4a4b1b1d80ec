"""The value that travels from the inspector to its sinks: one frame, what it scored and what that means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge_occ.decision import EventChange, Verdict
from edge_occ.faults import Fault
from edge_occ.sources.base import Frame
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


class Sink(Protocol):
    """Takes inspections; must return at once, whatever the world behind it does.

    What it raises is counted and told once; the other sinks and the line go on.
    """

    @property
    def name(self) -> str:
        """What people call it."""

    def publish(self, inspection: Inspection) -> None:
        """Take one inspection."""

    def fault(self, fault: Fault) -> None:
        """Take a frame that could not be inspected."""

    def finish(self, inspection: Inspection) -> None:
        """Take the end of the event under way, because no more frames will come.

        Args:
            inspection: the last one, published already, with the end as its event.
        """

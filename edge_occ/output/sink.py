"""The seam of outputs: every consumer of inspections is a sink."""

from __future__ import annotations

from typing import Protocol

from edge_occ.inspection.result import Inspection
from edge_occ.sources.faults import Fault


class Sink(Protocol):
    """A consumer of inspections.

    Every method is called in the thread that inspects, and must return at once: a slow or absent receiver must not
    delay the next frame.  It must not change the frame.  An error that it raises is counted and logged once; the other
    sinks and the inspection go on.
    """

    @property
    def name(self) -> str:
        """Name in messages for people."""

    def publish(self, inspection: Inspection) -> None:
        """Take an inspected frame."""

    def fault(self, fault: Fault) -> None:
        """Take a frame that could not be inspected."""

    def finish(self, inspection: Inspection) -> None:
        """Take the end of the open event, after the last frame of the run or, with ``event.part_gap``, of a part.

        Args:
            inspection: the latest one, published before, with the end as its event; without its picture.
        """


class MemorySink:
    """A sink that keeps everything in lists; for tests.

    Attributes:
        inspections: published, in order.
        faults: frames that could not be inspected, in order.
        finished: arguments of :meth:`finish`.
    """

    name = "memory"

    def __init__(self) -> None:
        self.inspections: list[Inspection] = []
        self.faults: list[Fault] = []
        self.finished: list[Inspection] = []

    def publish(self, inspection: Inspection) -> None:
        """Keep an inspected frame."""
        self.inspections.append(inspection)

    def fault(self, fault: Fault) -> None:
        """Keep a frame that could not be inspected."""
        self.faults.append(fault)

    def finish(self, inspection: Inspection) -> None:
        """Keep the end of the open event."""
        self.finished.append(inspection)

"""The seam of outputs: whatever takes inspections."""

from __future__ import annotations

from typing import Protocol

from edge_occ.inspection.result import Inspection
from edge_occ.sources.faults import Fault


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

"""The latest inspected frame, for whoever asks for it."""

from __future__ import annotations

from edge_occ.inspection.result import Inspection
from edge_occ.sources.faults import Fault


class LatestFrame:
    """A sink that keeps the latest inspection with its picture; read from any thread.

    Attributes:
        inspection: the latest one; ``None`` before the first.
    """

    name = "snapshots"

    def __init__(self) -> None:
        self.inspection: Inspection | None = None

    def publish(self, inspection: Inspection) -> None:
        """Keep an inspected frame."""
        self.inspection = inspection

    def fault(self, fault: Fault) -> None:
        """Keep the one before."""

    def finish(self, inspection: Inspection) -> None:
        """Keep the one before: this one has no picture."""

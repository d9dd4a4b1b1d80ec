"""The sink for people: events and faults as lines on standard error."""

from __future__ import annotations

from collections.abc import Callable

from edge_occ.common.console import say
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.common.streams import error_reader_has_gone
from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Inspection
from edge_occ.sources.faults import Fault


class ConsoleSink:
    """Prints where events begin and end, and a few frames a minute that could not be inspected.

    Args:
        on_gone: called when nothing reads standard error any more.
        camera: name of the camera in the lines; empty where there is only one.
    """

    name = "standard error"

    def __init__(self, on_gone: Callable[[], None] | None = None, camera: str = "") -> None:
        self._on_gone, self._prefix = on_gone, f"{camera}: " if camera else ""
        self._faults = RateLimitedLog(self._say)

    def publish(self, inspection: Inspection) -> None:
        """Print a line if an event begins or ends."""
        change, verdict = inspection.event, inspection.verdict
        if change is None or change.phase is Phase.UPDATE:
            return
        name = inspection.frame.name or f"frame {inspection.frame.index}"
        self._say(
            f"{change.phase.value:<5}  {name}  score {verdict.score:.1f}  "
            f"p {verdict.p_value:.4f}  peak {change.peak:.1f}"
        )

    def fault(self, fault: Fault) -> None:
        """Print the frame and why it could not be inspected."""
        name = fault.name or f"frame {fault.index}"
        self._faults(fault.reason.value, f"fault  {name}  {fault.reason.value}: {fault.detail}")

    def finish(self, inspection: Inspection) -> None:
        """Print the end of the last event."""
        self.publish(inspection)

    def _say(self, text: str) -> None:
        say(f"{self._prefix}{text}")
        if self._on_gone is not None and error_reader_has_gone():
            self._on_gone()

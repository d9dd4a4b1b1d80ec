"""The sink for people: events, frames for review and faults as lines on standard error."""

from __future__ import annotations

from collections.abc import Callable

from edge_occ.common.console import say
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.common.streams import error_reader_has_gone
from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Inspection
from edge_occ.sources.faults import Fault


class ConsoleSink:
    """Prints where events begin and end, and a few frames a minute for review or that could not be inspected.

    Args:
        on_gone: called when nothing reads standard error any more.
        camera: name of the camera in the lines; empty where there is only one.
    """

    name = "standard error"

    def __init__(self, on_gone: Callable[[], None] | None = None, camera: str = "") -> None:
        self._on_gone, self._prefix = on_gone, f"{camera}: " if camera else ""
        self._few = RateLimitedLog(self._say)

    def publish(self, inspection: Inspection) -> None:
        """Print a line if an event begins or ends, or the frame is for review."""
        if inspection.verdict.name == "review":
            self._few("review", f"review  {_frame(inspection)}")
        self._show_event(inspection)

    def fault(self, fault: Fault) -> None:
        """Print the frame and why it could not be inspected."""
        name = fault.name or f"frame {fault.index}"
        self._few(fault.reason.value, f"fault  {name}  {fault.reason.value}: {fault.detail}")

    def finish(self, inspection: Inspection) -> None:
        """Print the end of the last event."""
        self._show_event(inspection)

    def _show_event(self, inspection: Inspection) -> None:
        change = inspection.event
        if change is not None and change.phase is not Phase.UPDATE:
            self._say(f"{change.phase.value:<5}  {_frame(inspection)}  peak {change.peak:.1f}")

    def _say(self, text: str) -> None:
        say(f"{self._prefix}{text}")
        if self._on_gone is not None and error_reader_has_gone():
            self._on_gone()


def _frame(inspection: Inspection) -> str:
    frame, verdict = inspection.frame, inspection.verdict
    return f"{frame.name or f'frame {frame.index}'}  score {verdict.score:.1f}  p {verdict.p_value:.4f}"

"""What a run shows on its two standard streams."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from edge_occ.cli.console import print_json, say
from edge_occ.common.errors import InputError
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.common.streams import Readiness, error_reader_has_gone
from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.messages import score_message
from edge_occ.sources.faults import Fault


class JsonLines:
    """Prints one JSON object a frame.

    Args:
        on_gone: called, in place of an error, when nobody reads standard output any more.
        live: lose lines for which a reader that has stopped reading makes no room, as a camera does not wait.

    Attributes:
        failure: why a line could not be written, if not because of that.
    """

    name = "standard output"

    def __init__(self, on_gone: Callable[[], None] | None = None, *, live: bool = False) -> None:
        self._on_gone = on_gone
        self._is_ready = Readiness(sys.stdout.fileno()) if live else None
        self.failure: InputError | None = None

    def publish(self, inspection: Inspection) -> None:
        """Print the score message; its latency ends here."""
        latency = (time.monotonic() - inspection.frame.captured_monotonic) * 1e3
        self._print(score_message(inspection, latency).model_dump(mode="json", by_alias=True))

    def fault(self, fault: Fault) -> None:
        """Print a line whose verdict is ``fault``, and which has no score."""
        content = {
            "schema": "edge-occ/fault/1",
            "frame": fault.index,
            "name": fault.name,
            "captured_at": fault.captured_at.isoformat().replace("+00:00", "Z"),
            "verdict": "fault",
            "reason": fault.reason.value,
            "detail": fault.detail,
        }
        self._print(content)

    def finish(self, inspection: Inspection) -> None:
        """Nothing: an event's end is no frame."""

    def _print(self, content: dict[str, object]) -> None:
        try:
            self._require_room()
            print_json(content)
        except BrokenPipeError:
            if self._on_gone is None:
                raise
            self._on_gone()
        except InputError as error:
            self.failure = error
            raise

    def _require_room(self) -> None:
        if self._is_ready is not None and not self._is_ready():
            raise InputError(
                "a reader of standard output that keeps up", "one that has stopped", "see what it waits for"
            )


class Console:
    """Tells people where events begin and end, and of frames that were not inspected; of those a few a minute.

    Args:
        on_gone: called when nobody reads standard error any more.
    """

    name = "standard error"

    def __init__(self, on_gone: Callable[[], None] | None = None) -> None:
        self._on_gone = on_gone
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
        """Print what was skipped, and why."""
        name = fault.name or f"frame {fault.index}"
        self._faults(fault.reason.value, f"fault  {name}  {fault.reason.value}: {fault.detail}")

    def finish(self, inspection: Inspection) -> None:
        """Print the last event's end."""
        self.publish(inspection)

    def _say(self, text: str) -> None:
        say(text)
        if self._on_gone is not None and error_reader_has_gone():
            self._on_gone()

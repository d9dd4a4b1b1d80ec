"""The sink behind ``--json``: one JSON object a frame on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.console import print_json
from edge_occ.common.errors import InputError
from edge_occ.common.streams import Readiness
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.messages import score_message
from edge_occ.mqtt.topics import Origin
from edge_occ.sources.faults import Fault


class JsonLinesSink:
    """Prints one JSON object a frame.

    Args:
        on_gone: called, instead of raising an error, when nothing reads standard output any more.
        camera: name of the camera in the lines; empty where there is only one.
        live: drop lines while the reader has stopped reading, because a camera does not wait.
        clock: replaced in tests.

    Attributes:
        failure: why a line could not be written; ``None`` if all were, or if the reader has gone.
    """

    name = "standard output"

    def __init__(
        self,
        on_gone: Callable[[], None] | None = None,
        camera: str = "",
        *,
        live: bool = False,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._on_gone, self._clock, self._origin = on_gone, clock, Origin(camera=camera)
        self._is_ready = Readiness(sys.stdout.fileno()) if live else None
        self.failure: InputError | None = None

    def publish(self, inspection: Inspection) -> None:
        """Print the score message; its latency ends here."""
        latency = (self._clock.monotonic() - inspection.frame.captured_monotonic) * 1e3
        self._print(score_message(inspection, latency, self._origin).model_dump(mode="json", by_alias=True))

    def fault(self, fault: Fault) -> None:
        """Print a line whose verdict is ``fault`` and which has no score."""
        content = {
            "schema": "edge-occ/fault/1",
            "camera": self._origin.camera,
            "frame": fault.index,
            "name": fault.name,
            "captured_at": fault.captured_at.isoformat().replace("+00:00", "Z"),
            "verdict": "fault",
            "reason": fault.reason.value,
            "detail": fault.detail,
        }
        self._print(content)

    def finish(self, inspection: Inspection) -> None:
        """Do nothing: the end of an event is not a frame."""

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
                "a reader of standard output that keeps up", "one that has stopped", "check what the reader waits for"
            )

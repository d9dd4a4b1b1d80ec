"""The sinks of one run, isolated from each other's errors."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from edge_occ.inspection.result import Inspection
from edge_occ.output.sink import Sink
from edge_occ.sources.faults import Fault, one_line

logger = logging.getLogger(__name__)


class Outlets:
    """Passes everything to every sink; counts the errors of each, and logs the first.

    Args:
        sinks: in the order in which they are called.

    Attributes:
        lost: errors by name of the sink.
    """

    def __init__(self, sinks: Sequence[Sink] = ()) -> None:
        self._sinks = list(sinks)
        self.lost: Counter[str] = Counter()

    def add(self, sink: Sink) -> None:
        """Add a sink, called after the others."""
        self._sinks.append(sink)

    def remove(self, sink: Sink) -> None:
        """Remove a sink."""
        self._sinks.remove(sink)

    def publish(self, inspection: Inspection) -> None:
        """Pass on an inspected frame."""
        self._each(lambda sink: sink.publish(inspection))

    def fault(self, fault: Fault) -> None:
        """Pass on a frame that could not be inspected."""
        self._each(lambda sink: sink.fault(fault))

    def finish(self, inspection: Inspection) -> None:
        """Pass on the end of the open event."""
        self._each(lambda sink: sink.finish(inspection))

    def _each(self, call: Callable[[Sink], None]) -> None:
        for sink in self._sinks:
            self._guarded(sink, call)

    def _guarded(self, sink: Sink, call: Callable[[Sink], None]) -> None:
        try:
            call(sink)
        except Exception as error:  # noqa: BLE001 - inspection goes on after any error of a sink
            self.lost[sink.name] += 1
            if self.lost[sink.name] == 1:
                # Without a traceback, which is of no use for a full disk.
                logger.error("%s failed, inspection goes on: %s", sink.name, one_line(error))  # noqa: TRY400

"""Several sinks as one, each kept from harming the line and the others."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from edge_occ.inspection.result import Inspection
from edge_occ.output.sink import Sink
from edge_occ.sources.faults import Fault, one_line

logger = logging.getLogger(__name__)


class Outlets:
    """Hands everything to all of the sinks; an error of one is logged the first time, and counted.

    Args:
        sinks: in the order in which they are served.

    Attributes:
        lost: by name of the sink, how often it raised an error.
    """

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self.lost: Counter[str] = Counter()

    def publish(self, inspection: Inspection) -> None:
        """Hand over an inspection."""
        self._each(lambda sink: sink.publish(inspection))

    def fault(self, fault: Fault) -> None:
        """Hand over a frame that could not be inspected."""
        self._each(lambda sink: sink.fault(fault))

    def finish(self, inspection: Inspection) -> None:
        """Hand over the end of the event under way."""
        self._each(lambda sink: sink.finish(inspection))

    def _each(self, hand_over: Callable[[Sink], None]) -> None:
        for sink in self._sinks:
            self._guard(sink, hand_over)

    def _guard(self, sink: Sink, hand_over: Callable[[Sink], None]) -> None:
        try:
            hand_over(sink)
        except Exception as error:  # noqa: BLE001 - whatever it is, inspection goes on
            self.lost[sink.name] += 1
            if self.lost[sink.name] == 1:
                # Without a traceback, which says little of a full disk.
                logger.error("%s failed, inspection goes on: %s", sink.name, one_line(error))  # noqa: TRY400

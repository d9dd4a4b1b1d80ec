"""Log messages that may come many times a second, at most one of a kind a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

PERIOD_SECONDS = 60.0


class Throttle:
    """Lets the first message of a kind through, and then one a period; use it from one thread, or lose a line at worst.

    What is left out is only the line: whatever must be counted is counted elsewhere, and a message gives its total.

    Args:
        log: where messages go.
        clock: seconds that only grow.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._due: dict[str, float] = {}

    def warning(self, kind: str, message: str, *details: object) -> None:
        """Log ``message % details`` as a warning, unless one of the same ``kind`` was logged less than a period ago."""
        now = self._clock()
        if now >= self._due.get(kind, now):
            self._due[kind] = now + PERIOD_SECONDS
            self._log.warning(message, *details)

    def once(self, kind: str, message: str, *details: object) -> None:
        """Log a warning that is never repeated."""
        if kind not in self._due:
            self._due[kind] = float("inf")
            self._log.warning(message, *details)

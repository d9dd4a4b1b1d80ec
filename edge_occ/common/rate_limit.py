"""Log messages that may come many times a second."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from edge_occ.common.clock import SYSTEM_CLOCK, Clock


@dataclass
class _Kind:
    period_start: float = -math.inf
    written: int = 0
    suppressed: int = 0


class RateLimitedLog:
    """Writes at most ``max_messages`` of a kind in a period, and with the next one how many were suppressed.

    It may be used from several threads.

    Args:
        write: called with one line of text, for instance ``logger.warning``.
        max_messages: messages of one kind in one period, at least 1.
        period: length of a period in seconds; it starts with the first message in it.
        clock: replaced in tests.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        max_messages: int = 5,
        period: float = 60.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._write, self._max_messages, self._period, self._clock = write, max_messages, period, clock
        self._kinds: dict[str, _Kind] = {}
        self._lock = Lock()

    def __call__(self, kind: str, message: str, *details: object) -> None:
        """Write ``message % details``, or count it as suppressed."""
        with self._lock:
            now, state = self._clock.monotonic(), self._kinds.setdefault(kind, _Kind())
            if now - state.period_start >= self._period:
                state.period_start, state.written = now, 0
            if state.written == self._max_messages:
                state.suppressed += 1
                return
            state.written += 1
            suppressed, state.suppressed = state.suppressed, 0
        text = message % details if details else message
        self._write(f"{text} (and {suppressed} more like it before)" if suppressed else text)

    def once(self, kind: str, message: str, *details: object) -> None:
        """Write a message unless one of its kind was written before."""
        with self._lock:
            if kind in self._kinds:
                return
            self._kinds[kind] = _Kind(math.inf, self._max_messages)
        self._write(message % details if details else message)

"""Log messages that may repeat many times a second.

The same interface as ``edge_occ.common.rate_limit.RateLimitedLog``, which replaces this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_PERIOD_SECONDS = 60.0


class RateLimitedLog:
    """Writes the first message of a kind, then one a minute.

    Args:
        write: called with one line of text, for instance ``logger.warning``.
        max_messages: messages of one kind a minute; only 1.
    """

    def __init__(self, write: Callable[[str], object], max_messages: int = 1) -> None:
        self._write, self._max_messages = write, max_messages
        self._due: dict[str, float] = {}

    def __call__(self, kind: str, message: str, *details: object) -> None:
        """Write ``message % details``, unless one of the same ``kind`` was written less than a minute ago."""
        now = time.monotonic()
        if now >= self._due.get(kind, now):
            self._due[kind] = now + _PERIOD_SECONDS
            self._write(message % details if details else message)

    def once(self, kind: str, message: str, *details: object) -> None:
        """Write a message unless one of its kind was written before."""
        if kind not in self._due:
            self._due[kind] = float("inf")
            self._write(message % details if details else message)

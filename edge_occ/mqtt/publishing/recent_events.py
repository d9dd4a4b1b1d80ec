"""Event messages that the broker confirmed a short time ago: a broker that is killed loses those it had in memory."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from edge_occ.mqtt.publishing.event_store import QueuedEvent

_MAX_MESSAGES = 2000


class RecentEvents:
    """The last confirmed messages, in order, in memory, 2,000 at most; for one thread.

    Args:
        seconds: how long before the latest call of :meth:`add` or :meth:`forget` a message was confirmed at most; 0
            keeps none.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: deque[tuple[float, QueuedEvent]] = deque(maxlen=_MAX_MESSAGES)

    def add(self, event: QueuedEvent, now: float) -> None:
        """Keep a message that was confirmed at ``now``, in seconds on :func:`time.monotonic`."""
        if self._seconds:
            self.forget(now)
            self._kept.append((now, event))

    def forget(self, now: float) -> None:
        """Forget what was confirmed long before ``now``; not to be called while there is no connection."""
        while self._kept and now - self._kept[0][0] > self._seconds:
            self._kept.popleft()

    def take_all(self) -> list[QueuedEvent]:
        """Return all messages, as historical ones, and forget them."""
        events = [replace(event, historical=True) for _, event in self._kept]
        self._kept.clear()
        return events

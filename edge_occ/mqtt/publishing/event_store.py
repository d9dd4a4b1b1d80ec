"""The seam of event storage, and the store in memory: event messages that the broker has not confirmed."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.payloads import Event

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class QueuedEvent:
    """An event message in a store.

    Attributes:
        message: the message.
        captured: time of capture on :func:`time.monotonic`, seconds.
        offline: put while there was no connection.
    """

    message: Event
    captured: float
    offline: bool = False


class EventStore(Protocol):
    """Event messages in order; one that was taken is kept until it is settled or given back.

    An event is stored whole or not at all: a full store drops updates first, oldest first, and then the oldest event
    with all its messages, including later ones.  An event whose start was taken is kept, so that its end is always
    sent.  Every method may be called from any thread.
    """

    @property
    def depth(self) -> int:
        """Messages that are not settled."""

    @property
    def dropped(self) -> int:
        """Messages dropped so far."""

    def age(self, now: float) -> float:
        """Return the seconds since the capture of the oldest message that is not settled; 0 without any."""

    def put(self, event: QueuedEvent) -> None:
        """Append a message; returns at once."""

    def take(self) -> QueuedEvent | None:
        """Return the oldest message that was not taken yet, ``None`` without one."""

    def settle(self, event: QueuedEvent) -> None:
        """Remove a message that was taken: the broker has answered."""

    def give_back(self) -> None:
        """Return all messages that were taken and not settled to the front, in their order."""

    def drop_all(self) -> int:
        """Drop every message, at the very end, and return how many there were."""


class MemoryEventStore:
    """An :class:`EventStore` in memory; its messages end with the process.

    Args:
        max_messages: bound of the store; at least 32, so that the messages that must be kept fit.
        on_drop: called with the number of messages dropped; must return at once.
    """

    def __init__(self, max_messages: int = 1000, on_drop: Callable[[int], None] = lambda _: None) -> None:
        self._max_messages, self._on_drop = max_messages, on_drop
        self._lock = threading.Lock()
        self._waiting: deque[QueuedEvent] = deque()
        self._taken: list[QueuedEvent] = []
        self._started: set[str] = set()  # events whose start was taken and whose end is not settled
        self._abandoned: set[str] = set()  # events that were dropped and whose end was not put yet
        self._dropped = 0
        self._warn = RateLimitedLog(_log.warning, max_messages=1)

    def put(self, event: QueuedEvent) -> None:
        """Append a message; returns at once."""
        message = event.message
        with self._lock:
            if message.id in self._abandoned:
                self._count_dropped(1)
                if message.phase is Phase.END:
                    self._abandoned.discard(message.id)
                return
            self._waiting.append(event)
            self._trim()

    def take(self) -> QueuedEvent | None:
        """Return the oldest message that was not taken yet, ``None`` without one."""
        with self._lock:
            if not self._waiting:
                return None
            event = self._waiting.popleft()
            self._taken.append(event)
            if event.message.phase is Phase.START:
                self._started.add(event.message.id)
            return event

    def settle(self, event: QueuedEvent) -> None:
        """Remove a message that was taken: the broker has answered."""
        with self._lock:
            self._taken.remove(event)
            if event.message.phase is Phase.END:
                self._started.discard(event.message.id)

    def give_back(self) -> None:
        """Return all messages that were taken and not settled to the front, in their order."""
        with self._lock:
            self._waiting.extendleft(reversed(self._taken))
            self._taken.clear()
            self._trim()

    def drop_all(self) -> int:
        """Drop every message, at the very end, and return how many there were."""
        with self._lock:
            count = len(self._taken) + len(self._waiting)
            self._taken.clear()
            self._waiting.clear()
            self._count_dropped(count)
        return count

    @property
    def depth(self) -> int:
        """Messages that are not settled."""
        with self._lock:
            return len(self._taken) + len(self._waiting)

    @property
    def dropped(self) -> int:
        """Messages dropped so far."""
        with self._lock:
            return self._dropped

    def age(self, now: float) -> float:
        """Return the seconds since the capture of the oldest message that is not settled; 0 without any."""
        with self._lock:
            oldest = next(iter(self._taken or self._waiting), None)
        return 0.0 if oldest is None else max(now - oldest.captured, 0.0)

    def _trim(self) -> None:
        dropped = 0
        while len(self._taken) + len(self._waiting) > self._max_messages and (victims := self._victims()):
            self._waiting = deque(event for event in self._waiting if event not in victims)
            dropped += len(victims)
        if dropped:
            self._count_dropped(dropped)
            self._warn("full", "event queue full: %d event messages dropped so far", self._dropped)

    def _count_dropped(self, count: int) -> None:
        self._dropped += count
        self._on_drop(count)

    def _victims(self) -> list[QueuedEvent]:
        """Return what to drop next: the oldest update, or the oldest event that can be dropped whole."""
        update = next((event for event in self._waiting if event.message.phase is Phase.UPDATE), None)
        if update is not None:
            return [update]
        starts = (event.message.id for event in self._waiting if event.message.phase is Phase.START)
        oldest = next((start for start in starts if start not in self._started), None)
        if oldest is None:
            return []
        victims = [event for event in self._waiting if event.message.id == oldest]
        if not any(event.message.phase is Phase.END for event in victims):
            self._abandoned.add(oldest)
        return victims

"""The seam of event storage, and a plain store in memory: event messages that the broker has not confirmed."""

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

ROW_BYTES = 512
"""Counted for each message besides its JSON: what indexes and half-empty pages take of a file."""


@dataclass(frozen=True, eq=False)
class QueuedEvent:
    """An event message in a store, as the JSON that will be sent.

    Attributes:
        id: of the event.
        phase: of the event.
        payload: the JSON.
        captured: time of capture on :func:`time.monotonic`, seconds.
        historical: put without a connection, or by an earlier run.
    """

    id: str
    phase: Phase
    payload: bytes
    captured: float
    historical: bool = False

    @classmethod
    def of(cls, message: Event, captured: float) -> QueuedEvent:
        """Return a message for a store."""
        return cls(message.id, message.phase, message.to_json(), captured, message.historical)

    @property
    def message(self) -> Event:
        """The message.

        Raises:
            pydantic.ValidationError: the JSON, of a file, was written by another version.
        """
        return Event.model_validate_json(self.payload)

    @property
    def size(self) -> int:
        """Bytes that count against the budget of a store."""
        return len(self.payload) + ROW_BYTES


class EventStore(Protocol):
    """Event messages in order; one that was taken is kept until it is settled or given back.

    A store has a budget of bytes.  An event is stored whole or not at all: a full store drops updates first, oldest
    first, and then the oldest event with all its messages, including later ones.  An event whose start was taken is
    kept, so that its end is always sent.

    ``put`` and the properties may be used from any thread; the other methods from one thread, or after it has ended.
    """

    @property
    def lasting(self) -> bool:
        """True if what is stored outlasts the process."""

    @property
    def depth(self) -> int:
        """Messages that are not settled."""

    @property
    def size(self) -> int:
        """Bytes of the messages that are not settled, as they count against the budget."""

    @property
    def dropped(self) -> int:
        """Messages dropped so far."""

    def age(self, now: float) -> float:
        """Return the seconds since the capture of the oldest message that is not settled; 0 without any."""

    def put(self, event: QueuedEvent) -> None:
        """Append a message; returns soon."""

    def take(self) -> QueuedEvent | None:
        """Return the oldest message that was not taken yet, ``None`` without one."""

    def settle(self, event: QueuedEvent) -> None:
        """Remove a message that was taken: the broker has answered."""

    def give_back(self) -> None:
        """Return all messages that were taken and not settled to the front, in their order."""

    def sync(self) -> None:
        """Make what was put so far outlast a power cut, if the store can; takes as long as the disk does."""

    def close(self) -> int:
        """Return how many messages remain for the next run; those that cannot are dropped.  To be called once."""


class MemoryEventStore:
    """An :class:`EventStore` in memory, without an index: for tests, and as the model of the others.

    Args:
        max_bytes: budget.
        on_drop: called with the number of messages dropped; must return at once.
    """

    lasting = False

    def __init__(self, max_bytes: int, on_drop: Callable[[int], None] = lambda _: None) -> None:
        self._max_bytes, self._on_drop = max_bytes, on_drop
        self._lock = threading.Lock()
        self._waiting: deque[QueuedEvent] = deque()
        self._taken: list[QueuedEvent] = []
        self._started: set[str] = set()  # events whose start was taken and whose end is not settled
        self._abandoned: set[str] = set()  # events that were dropped and whose end was not put yet
        self._dropped = 0
        self._warn = RateLimitedLog(_log.warning, max_messages=1)

    def put(self, event: QueuedEvent) -> None:
        """Append a message; returns soon."""
        with self._lock:
            if event.id in self._abandoned:
                self._count_dropped(1)
                if event.phase is Phase.END:
                    self._abandoned.discard(event.id)
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
            if event.phase is Phase.START:
                self._started.add(event.id)
            return event

    def settle(self, event: QueuedEvent) -> None:
        """Remove a message that was taken: the broker has answered."""
        with self._lock:
            self._taken.remove(event)
            if event.phase is Phase.END:
                self._started.discard(event.id)

    def give_back(self) -> None:
        """Return all messages that were taken and not settled to the front, in their order."""
        with self._lock:
            self._waiting.extendleft(reversed(self._taken))
            self._taken.clear()

    def sync(self) -> None:
        """Do nothing: memory does not outlast a power cut."""

    def close(self) -> int:
        """Drop every message; none remains."""
        with self._lock:
            count = len(self._taken) + len(self._waiting)
            self._taken.clear()
            self._waiting.clear()
            self._count_dropped(count)
        return 0

    @property
    def depth(self) -> int:
        """Messages that are not settled."""
        with self._lock:
            return len(self._taken) + len(self._waiting)

    @property
    def size(self) -> int:
        """Bytes of the messages that are not settled."""
        with self._lock:
            return self._size()

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

    def _size(self) -> int:
        return sum(event.size for event in (*self._taken, *self._waiting))

    def _trim(self) -> None:
        dropped = 0
        while self._size() > self._max_bytes and (victims := self._victims()):
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
        update = next((event for event in self._waiting if event.phase is Phase.UPDATE), None)
        if update is not None:
            return [update]
        starts = (event.id for event in self._waiting if event.phase is Phase.START)
        oldest = next((start for start in starts if start not in self._started), None)
        if oldest is None:
            return []
        victims = [event for event in self._waiting if event.id == oldest]
        if not any(event.phase is Phase.END for event in victims):
            self._abandoned.add(oldest)
        return victims

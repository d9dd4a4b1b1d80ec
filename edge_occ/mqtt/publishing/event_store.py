"""The events that wait for the broker, in memory and within a bound; knows no broker and no clock.

An event is whole or absent: a full queue drops updates first, the oldest first, and then the oldest event with all of
its messages, those to come included.  One whose start was handed over already is kept, so that it is always ended.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.messages import Event
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.throttle import Throttle
from edge_occ.mqtt.topics import EVENT

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class QueuedEvent:
    """A message about an event.

    Attributes:
        message: what happened.
        captured: moment of the frame on :func:`time.monotonic`, seconds.
        offline: raised while there was no connection.
    """

    message: Event
    captured: float
    offline: bool = False


class MemoryEventStore:
    """Messages in order; one that was taken is kept until it is settled or given back.

    Every method returns at once and may be called from any thread.

    Args:
        ledger: counts what is dropped.
        most: bound of the queue; at least 32, so that what must be kept fits.
    """

    def __init__(self, ledger: DeliveryStats, most: int = 1000) -> None:
        self._ledger, self._most = ledger, most
        self._lock = threading.Lock()
        self._waiting: deque[QueuedEvent] = deque()
        self._taken: list[QueuedEvent] = []
        self._begun: set[str] = set()  # events whose start was taken and whose end was not settled
        self._given_up: set[str] = set()  # events that were dropped and whose end was not seen
        self._dropped = 0
        self._throttle = Throttle(_log)

    def put(self, event: QueuedEvent) -> None:
        """Append a message."""
        message = event.message
        with self._lock:
            if message.id in self._given_up:
                self._ledger.dropped(EVENT)
                if message.phase is Phase.END:
                    self._given_up.discard(message.id)
                return
            self._waiting.append(event)
            self._trim()

    def take(self) -> QueuedEvent | None:
        """The oldest message that was not taken yet."""
        with self._lock:
            if not self._waiting:
                return None
            event = self._waiting.popleft()
            self._taken.append(event)
            if event.message.phase is Phase.START:
                self._begun.add(event.message.id)
            return event

    def settle(self, event: QueuedEvent) -> None:
        """Forget a message that was taken: the broker has answered."""
        with self._lock:
            self._taken.remove(event)
            if event.message.phase is Phase.END:
                self._begun.discard(event.message.id)

    def give_back(self) -> None:
        """Put all that was taken and not settled back in front, in its order."""
        with self._lock:
            self._waiting.extendleft(reversed(self._taken))
            self._taken.clear()
            self._trim()

    def drop_all(self) -> int:
        """Drop everything, at the very end; gives the number of messages."""
        with self._lock:
            count = len(self._taken) + len(self._waiting)
            self._taken.clear()
            self._waiting.clear()
        self._ledger.dropped(EVENT, count)
        return count

    @property
    def depth(self) -> int:
        """Messages that are not settled."""
        with self._lock:
            return len(self._taken) + len(self._waiting)

    def age(self, now: float) -> float:
        """Seconds since the frame of the oldest message that is not settled; 0 without any."""
        with self._lock:
            oldest = next(iter(self._taken or self._waiting), None)
        return 0.0 if oldest is None else max(now - oldest.captured, 0.0)

    def _trim(self) -> None:
        dropped = 0
        while len(self._taken) + len(self._waiting) > self._most:
            victims = self._victims()
            if not victims:
                break
            self._waiting = deque(event for event in self._waiting if event not in victims)
            dropped += len(victims)
        if dropped:
            self._ledger.dropped(EVENT, dropped)
            self._dropped += dropped
            self._throttle.warning("full", "event queue full: %d event messages dropped so far", self._dropped)

    def _victims(self) -> list[QueuedEvent]:
        """What to drop next: the oldest update, or the oldest event that can be dropped whole."""
        update = next((event for event in self._waiting if event.message.phase is Phase.UPDATE), None)
        if update is not None:
            return [update]
        starts = (event.message.id for event in self._waiting if event.message.phase is Phase.START)
        whole = next((start for start in starts if start not in self._begun), None)
        if whole is None:
            return []
        victims = [event for event in self._waiting if event.message.id == whole]
        if not any(event.message.phase is Phase.END for event in victims):
            self._given_up.add(whole)
        return victims

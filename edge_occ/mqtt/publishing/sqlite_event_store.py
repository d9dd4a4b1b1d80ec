"""An event store in SQLite: what was put outlasts the process, and is there for the next run."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.inspection.events import Phase
from edge_occ.mqtt.messages import interrupted_end
from edge_occ.mqtt.payloads import Event
from edge_occ.mqtt.publishing.event_rows import EventRows
from edge_occ.mqtt.publishing.event_store import ROW_BYTES, QueuedEvent
from edge_occ.mqtt.publishing.eviction import evict

_log = logging.getLogger(__name__)

_CHECKPOINT_WRITES = 200
"""Commits after which the log is moved into the file: some megabytes.  Also after one that failed, as the log itself
may fill the disk."""


class SqliteEventStore:
    """An :class:`~edge_occ.mqtt.publishing.event_store.EventStore` in a file or, without one, in memory.

    Messages of an earlier run come first and are historical.  An event that was open when that run ended has been
    interrupted: its end is put on opening.

    Args:
        path: file; ``None`` for memory, whose messages end with the process.
        max_bytes: budget.
        on_drop: called with the number of messages dropped; must return at once.
        clock: replaced in tests.

    Attributes:
        lasting: whether it is a file.

    Raises:
        sqlite3.Error: as of :class:`~edge_occ.mqtt.publishing.event_rows.EventRows`; from ``put`` and ``take`` where
            the file cannot be written or read, in which case nothing has changed.
        OSError: the file cannot be made; from ``sync``, the disk fails.
    """

    def __init__(
        self,
        path: Path | None,
        max_bytes: int,
        on_drop: Callable[[int], None] = lambda _: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.lasting = path is not None
        self._max_bytes, self._on_drop = max_bytes, on_drop
        self._rows = EventRows(path)
        self._lock = threading.Lock()
        # Times of capture are stored as seconds since the epoch: a monotonic clock starts anew with the machine.
        self._epoch = clock.now().timestamp() - clock.monotonic()
        self._last, self._depth, payload_bytes = self._rows.totals()
        self._size = payload_bytes + self._depth * ROW_BYTES
        self._earlier = self._last  # messages up to this one are of earlier runs
        self._cursor = 0  # messages up to this one were taken, or are gone
        self._taken: dict[QueuedEvent, int] = {}
        self._abandoned: set[str] = set()  # events that were dropped and whose end was not put yet
        # Changes that the disk did not accept; the next commit makes them up.
        self._settled: set[int] = set()
        self._handed: set[int] = set()
        self._dropped, self._writes, self._unsynced, self._behind = 0, 0, False, False
        self._warn = RateLimitedLog(_log.warning, max_messages=1)
        try:
            self._end_interrupted(clock.monotonic())
        except BaseException:
            self._rows.close()
            raise

    def put(self, event: QueuedEvent) -> None:
        """Append a message; once this returns, a file has it, even if the process is killed."""
        with self._lock:
            if event.id in self._abandoned:
                self._count_dropped(1)
                if event.phase is Phase.END:
                    self._abandoned.discard(event.id)
                return
            try:
                with self._rows.transaction():
                    self._catch_up()
                    self._rows.append(self._last + 1, event, event.captured + self._epoch)
                    removed = evict(self._rows, self._cursor, self._size + event.size - self._max_bytes)
            except sqlite3.Error:
                self._writes = _CHECKPOINT_WRITES
                raise
            self._caught_up()
            self._last, self._unsynced = self._last + 1, True
            self._depth, self._size = self._depth + 1 - removed.messages, self._size + event.size - removed.size
            self._abandoned |= removed.abandoned
            if removed.messages:
                self._count_dropped(removed.messages)
                self._warn("full", "event queue full: %d event messages dropped so far", self._dropped)

    def take(self) -> QueuedEvent | None:
        """Return the oldest message that was not taken yet, ``None`` without one."""
        with self._lock:
            while (found := self._rows.after(self._cursor)) is not None:
                self._cursor, row, fresh_start = found
                if self._cursor in self._settled:
                    continue
                historical = row.historical or self._cursor <= self._earlier
                event = QueuedEvent(row.id, row.phase, row.payload, row.captured - self._epoch, historical)
                self._taken[event] = self._cursor
                if fresh_start:
                    self._handed.add(self._cursor)
                    self._try_to_catch_up()
                return event
            return None

    def settle(self, event: QueuedEvent) -> None:
        """Remove a message that was taken: the broker has answered."""
        with self._lock:
            self._settled.add(self._taken.pop(event))
            self._depth, self._size = self._depth - 1, self._size - event.size
            self._try_to_catch_up()

    def give_back(self) -> None:
        """Return all messages that were taken and not settled to the front, in their order."""
        with self._lock:
            self._cursor = min(self._taken.values(), default=self._cursor + 1) - 1
            self._taken.clear()

    def owns(self, event: QueuedEvent) -> bool:
        """Return whether a message was taken from here and is not settled."""
        with self._lock:
            return event in self._taken

    @property
    def in_flight(self) -> int:
        """Messages that were taken and are not settled."""
        with self._lock:
            return len(self._taken)

    def sync(self) -> None:
        """Wait until the disk has what was put; ``put`` does not wait for that in another thread."""
        with self._lock:
            self._behind = False
            self._try_to_catch_up()
            unsynced, self._unsynced = self._unsynced, False
            full = self._writes >= _CHECKPOINT_WRITES
        if unsynced:
            self._rows.sync()
        if full:
            self._rows.checkpoint()
            with self._lock:
                self._rows.restart_log()
                self._writes = 0

    def close(self) -> int:
        """Return how many messages remain in the file; those in memory are dropped."""
        with self._lock:
            self._try_to_catch_up()
            self._rows.close()
            if self._rows.path is not None:
                return self._depth
            if self._depth:
                self._count_dropped(self._depth)
            self._depth = self._size = 0
        return 0

    @property
    def depth(self) -> int:
        """Messages that are not settled."""
        with self._lock:
            return self._depth

    @property
    def size(self) -> int:
        """Bytes of the messages that are not settled."""
        with self._lock:
            return self._size

    @property
    def dropped(self) -> int:
        """Messages dropped so far."""
        with self._lock:
            return self._dropped

    def age(self, now: float) -> float:
        """Return the seconds since the capture of the oldest message that is not settled; 0 without any."""
        with self._lock:
            seq = 0
            while (found := self._rows.after(seq)) is not None:
                seq, row, _ = found
                if seq not in self._settled:
                    return max(now - (row.captured - self._epoch), 0.0)
        return 0.0

    def _end_interrupted(self, now: float) -> None:
        for identifier, payload in self._rows.open_events():
            if (end := _interrupted_end(payload)) is not None:
                self.put(QueuedEvent.of(end, now))
            else:
                _log.warning("%.80r was interrupted and gets no end: its message in the outbox is damaged", identifier)
                with self._rows.transaction():
                    self._rows.close_event(identifier)

    def _catch_up(self) -> None:
        for seq in self._settled:
            self._rows.delete(seq)
        for seq in self._handed - self._settled:
            self._rows.hand_over(seq)

    def _caught_up(self) -> None:
        self._writes, self._behind = self._writes + 1, False
        self._settled.clear()
        self._handed.clear()

    def _try_to_catch_up(self) -> None:
        """Write what was settled and handed over, or leave it to the next commit: a full disk takes no deletion.

        After a failure only ``put`` and ``sync`` try again: each attempt makes up all that is left.
        """
        if self._behind or not (self._settled or self._handed):
            return
        try:
            with self._rows.transaction():
                self._catch_up()
        except sqlite3.Error as error:
            _log.debug("a confirmation could not be written yet: %s", error)
            self._writes, self._behind = _CHECKPOINT_WRITES, True
        else:
            self._caught_up()

    def _count_dropped(self, count: int) -> None:
        self._dropped += count
        self._on_drop(count)


def _interrupted_end(payload: bytes) -> Event | None:
    try:
        return interrupted_end(Event.model_validate_json(payload))
    except ValidationError:
        return None

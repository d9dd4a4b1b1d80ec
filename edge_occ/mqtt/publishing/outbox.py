"""The outbox: event messages on disk, and in memory for as long as the disk takes none."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.publishing.event_store import QueuedEvent
from edge_occ.mqtt.publishing.inspector_lock import lock_inspector, state_file
from edge_occ.mqtt.publishing.outbox_file import is_damage, open_outbox, quarantine
from edge_occ.mqtt.publishing.sqlite_event_store import SqliteEventStore

_log = logging.getLogger(__name__)

_MAX_MEMORY_BYTES = 64_000_000
"""Budget of the memory, where that of the disk is larger."""
_MAX_MOVED = 1000
"""Messages moved from memory to the disk in one go, so that sending goes on meanwhile."""


class Outbox:
    """An :class:`~edge_occ.mqtt.publishing.event_store.EventStore`; a context manager that locks the topics.

    What is on disk is older than what is in memory: as long as messages wait in memory, new ones go there too, and they
    are moved in their order once the disk takes them again.  A file that cannot be read is quarantined, at any time.

    Args:
        config: topics and broker, which identify the inspector; folder; budget.
        on_drop: called with the number of messages dropped; must return at once.

    Attributes:
        path: the file, ``None`` where there is no folder for one.
        failed: messages that the disk did not take and that waited in memory.
        kept: messages that remain for the next run; final once closed.

    Raises:
        InputError: on entering, where another inspector of this machine publishes on the same topics.
    """

    def __init__(self, config: MqttConfig, on_drop: Callable[[int], None] = lambda _: None) -> None:
        self._config, self._on_drop = config, on_drop
        self._max_bytes = config.outbox_mb * 1_000_000
        self._memory = SqliteEventStore(None, min(self._max_bytes, _MAX_MEMORY_BYTES), on_drop)
        self._disk: SqliteEventStore | None = None
        self.path: Path | None = None
        self.failed = self.kept = 0
        self._dropped = 0  # by this class
        self._lock = threading.Lock()  # held by put, and while the next message to be put changes its place
        self._to_memory, self._damage, self._closed = True, "", False
        self._stack = ExitStack()
        self._warn = RateLimitedLog(_log.warning, max_messages=1)

    def __enter__(self) -> Outbox:
        with ExitStack() as stack:
            try:
                lock_inspector(self._config, stack)
                self.path = state_file(self._config, ".outbox.sqlite")
            except OSError as error:
                _log.warning(
                    "no writable folder for the outbox (%s): event messages wait in memory and end with the process, "
                    "an event that a crash interrupts is not ended, and a second inspector is not detected; "
                    "set mqtt.state",
                    f"{error.filename}: {error.strerror}" if error.filename else error,
                )
            self._open()
            self._to_memory = self._disk is None
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def put(self, event: QueuedEvent) -> None:
        """Append a message: to the file, or to memory where that fails."""
        with self._lock:
            if self._closed:
                self._count_dropped(1)
                return
            if self._disk is not None and not self._to_memory:
                try:
                    self._disk.put(event)
                except sqlite3.Error as error:
                    self._fail(error)
                else:
                    return
            self.failed += 1
            self._memory.put(event)

    def take(self) -> QueuedEvent | None:
        """Return the oldest message that was not taken yet, ``None`` without one."""
        if self._disk is not None:
            try:
                event = self._disk.take()
            except sqlite3.Error as error:
                self._give_up(str(error))
            else:
                if event is not None:
                    return event
        return self._memory.take()

    def settle(self, event: QueuedEvent) -> None:
        """Remove a message that was taken: the broker has answered."""
        for store in self._stores():
            if store.owns(event):
                store.settle(event)

    def give_back(self) -> None:
        """Return all messages that were taken and not settled to the front, in their order."""
        for store in self._stores():
            store.give_back()

    def sync(self) -> None:
        """Make what is in the file outlast a power cut; move what waits in memory to the file if it can be written."""
        if self._damage:
            self._give_up(self._damage)
        if self._disk is not None:
            try:
                self._disk.sync()
            except (sqlite3.Error, OSError) as error:
                with self._lock:
                    self._fail(error)
        if self._to_memory:
            self._recover(_MAX_MOVED)

    def close(self) -> int:
        """Return how many messages remain for the next run; the others are dropped, which is logged."""
        with self._lock:
            if self._closed:
                return self.kept
            self._closed = True
        self.give_back()
        while self._to_memory and self._recover(_MAX_MOVED):
            pass
        if self._disk is not None:
            self.kept = self._disk.close()
        lost = self._memory.depth
        self._memory.close()
        self._stack.close()
        if lost:
            _log.warning("%d event messages could not be delivered before the end", lost)
        return self.kept

    @property
    def lasting(self) -> bool:
        """True if every message is on disk."""
        return self._disk is not None and not self._to_memory

    @property
    def depth(self) -> int:
        """Messages that are not settled."""
        return sum(store.depth for store in self._stores())

    @property
    def size(self) -> int:
        """Bytes of the messages that are not settled."""
        return sum(store.size for store in self._stores())

    @property
    def dropped(self) -> int:
        """Messages dropped so far."""
        return self._dropped + sum(store.dropped for store in self._stores())

    def age(self, now: float) -> float:
        """Return the seconds since the capture of the oldest message that is not settled; 0 without any."""
        try:
            return max(store.age(now) for store in self._stores())
        except sqlite3.Error:  # the sender quarantines the file when it reads it
            return self._memory.age(now)

    def _stores(self) -> list[SqliteEventStore]:
        return [self._memory] if self._disk is None else [self._disk, self._memory]

    def _open(self) -> None:
        if self.path is None:
            return
        try:
            self._disk = open_outbox(self.path, self._max_bytes, self._on_drop)
        except (sqlite3.Error, OSError) as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Send what comes to memory from now on."""
        self._to_memory = True
        if is_damage(error):
            self._damage = str(error)
        self._warn("failed", "%s cannot be written (%s): event messages wait in memory", self.path, error)

    def _recover(self, count: int) -> bool:
        """Move ``count`` messages from memory to the file; return whether more may be moved.

        Not while some of them are in flight: they would come back behind later ones.
        """
        if self._disk is None:
            self._open()
        if self._disk is None or self._memory.in_flight:
            return False
        for _ in range(count):
            with self._lock:
                event = self._memory.take()
                if event is None:
                    self._to_memory = False
                    _log.info("%s is written again", self.path)
                    return False
                try:
                    self._disk.put(event)
                except sqlite3.Error as error:
                    self._memory.give_back()
                    self._fail(error)
                    return False
                self._memory.settle(event)
        return True

    def _give_up(self, reason: str) -> None:
        """Quarantine a file that cannot be read; its messages count as dropped."""
        with self._lock:
            disk, self._disk, self._to_memory, self._damage = self._disk, None, True, ""
        if disk is None or self.path is None:
            return
        lost = disk.depth
        try:
            disk.close()
            quarantine(self.path, reason)
        except (sqlite3.Error, OSError) as error:
            self._warn("quarantine", "%s can neither be read nor renamed: %s", self.path, error)
        self._dropped += disk.dropped
        if lost:
            self._count_dropped(lost)

    def _count_dropped(self, count: int) -> None:
        self._dropped += count
        self._on_drop(count)

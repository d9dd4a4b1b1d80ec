"""Rows of event messages in a file of SQLite, or in memory: schema, transactions, durability; no policy.

The file is in WAL mode with ``synchronous=NORMAL``.  A commit is then a write without fsync: it outlasts the process,
killed at whatever instruction, and :meth:`EventRows.sync` makes it outlast a power cut.  Checkpoints wait for the
disk, so they never happen inside a commit but only in :meth:`EventRows.checkpoint`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publishing.event_store import QueuedEvent

_SCHEMA = (
    "CREATE TABLE outbox (seq INTEGER PRIMARY KEY, event TEXT NOT NULL, phase TEXT NOT NULL, handed INTEGER NOT NULL, "
    "captured_at REAL NOT NULL, historical INTEGER NOT NULL, payload BLOB NOT NULL)",
    "CREATE INDEX outbox_updates ON outbox (seq) WHERE phase = 'update'",
    "CREATE INDEX outbox_starts ON outbox (seq) WHERE phase = 'start' AND handed = 0",
    "CREATE INDEX outbox_events ON outbox (event)",
    "CREATE TABLE open_events (event TEXT PRIMARY KEY, payload BLOB NOT NULL) WITHOUT ROWID",
)
"""``outbox``: messages to be sent, by ``seq``; ``handed``: a start that was handed over.  ``open_events``: the latest
message of every event whose start was put and whose end was not."""
_BUSY_SECONDS = 0.1
"""Wait for a lock of another process, such as someone who looks into the file."""


class EventRow(NamedTuple):
    """One row of the outbox without its payload."""

    seq: int
    phase: Phase
    payload_bytes: int


class EventRows:
    """The rows; for one thread at a time.

    Args:
        path: file, made if it is missing; ``None`` for memory.

    Raises:
        sqlite3.OperationalError: the file cannot be opened or written, or its file system has no WAL mode.
        sqlite3.DatabaseError: the file is damaged or written by another version.
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None:  # SQLite would make it readable for others
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        self._db = self._connect()
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block does, or nothing of it.

        Raises:
            sqlite3.Error: nothing was written: the disk is full, or fails.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # SQLite has rolled back by itself, or cannot
                self._db.execute("ROLLBACK")
            raise

    def append(self, seq: int, event: QueuedEvent, captured_at: float) -> None:
        """Add a message and keep track of its event; ``captured_at`` is in seconds since the epoch."""
        self._db.execute(
            "INSERT INTO outbox VALUES (?, ?, ?, 0, ?, ?, ?)",
            (seq, event.id, event.phase.value, captured_at, event.historical, event.payload),
        )
        if event.phase is Phase.END:
            self.close_event(event.id)
        elif event.phase is Phase.START:
            self._db.execute("INSERT OR REPLACE INTO open_events VALUES (?, ?)", (event.id, event.payload))
        else:
            self._db.execute("UPDATE open_events SET payload = ? WHERE event = ?", (event.payload, event.id))

    def delete(self, seq: int) -> None:
        """Remove a message."""
        self._db.execute("DELETE FROM outbox WHERE seq = ?", (seq,))

    def hand_over(self, seq: int) -> None:
        """Mark a start as handed over."""
        self._db.execute("UPDATE outbox SET handed = 1 WHERE seq = ?", (seq,))

    def close_event(self, identifier: str) -> None:
        """Forget that an event is open."""
        self._db.execute("DELETE FROM open_events WHERE event = ?", (identifier,))

    def after(self, seq: int) -> tuple[int, QueuedEvent, bool] | None:
        """Return the first message after ``seq`` with its own, and whether it is a start not handed over yet.

        ``captured`` is in seconds since the epoch here.

        Raises:
            sqlite3.DatabaseError: the row is damaged.
        """
        row = self._db.execute(
            "SELECT seq, event, phase, payload, captured_at, historical, handed FROM outbox WHERE seq > ? "
            "ORDER BY seq LIMIT 1",
            (seq,),
        ).fetchone()
        if row is None:
            return None
        number, identifier, phase, payload, captured_at, historical, handed = row
        event = QueuedEvent(identifier, _phase(phase), payload, captured_at, bool(historical))
        return number, event, event.phase is Phase.START and not handed

    def oldest_update(self, after: int) -> EventRow | None:
        """Return the first update after ``after``."""
        found = self._rows("phase = 'update' AND seq > ? ORDER BY seq LIMIT 1", after)
        return found[0] if found else None

    def oldest_droppable(self, after: int) -> tuple[str, list[EventRow]] | None:
        """Return the first event whose start comes after ``after`` and was never handed over, with its messages."""
        start = self._db.execute(
            "SELECT event FROM outbox WHERE phase = 'start' AND handed = 0 AND seq > ? ORDER BY seq LIMIT 1", (after,)
        ).fetchone()
        return None if start is None else (start[0], self._rows("event = ? AND seq > ?", start[0], after))

    def totals(self) -> tuple[int, int, int]:
        """Return the last ``seq``, the number of messages and the bytes of their payloads."""
        query = "SELECT IFNULL(MAX(seq), 0), COUNT(*), IFNULL(SUM(LENGTH(payload)), 0) FROM outbox"
        last, count, size = self._db.execute(query).fetchone()
        return last, count, size

    def open_events(self) -> list[tuple[str, bytes]]:
        """Return the open events: id and latest message."""
        return self._db.execute("SELECT event, payload FROM open_events ORDER BY event").fetchall()

    def sync(self) -> None:
        """Wait until the disk has what was committed; may be called while another thread commits.

        Raises:
            OSError: the disk fails.
        """
        if self.path is not None:
            file = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(file)
            finally:
                os.close(file)

    def checkpoint(self) -> None:
        """Move the log into the file, so that it does not grow; may be called while another thread commits."""
        if self.path is None:
            return
        with contextlib.closing(self._connect()) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def restart_log(self) -> None:
        """Commit a change without meaning: the first commit after a checkpoint waits for the disk."""
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        self._db.execute(f"PRAGMA user_version = {(version + 1) % 2**31}")

    def close(self) -> None:
        """Close the file, after a checkpoint."""
        self._db.close()

    def _connect(self) -> sqlite3.Connection:
        database = ":memory:" if self.path is None else str(self.path)
        # The owner of the rows serialises the threads.
        return sqlite3.connect(database, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    def _prepare(self) -> None:
        schema = self._checked_schema()  # before anything is written: it may be the file of another program
        mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if self.path is not None and mode != "wal":
            raise sqlite3.OperationalError("its file system lacks what SQLite needs for WAL mode")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")
        if not schema:
            with self.transaction():
                for statement in _SCHEMA:
                    self._db.execute(statement)
        self.checkpoint()  # the log of a run that was killed, lest it grow from one such run to the next
        self.restart_log()

    def _checked_schema(self) -> set[str]:
        """Return the schema, empty for a new file."""
        faults = self._db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if faults != "ok":
            raise sqlite3.DatabaseError(faults)
        schema = {sql for (sql,) in self._db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        if schema not in (set(), set(_SCHEMA)):
            raise sqlite3.DatabaseError("a database of another program or version")
        return schema

    def _rows(self, condition: str, *values: object) -> list[EventRow]:
        found = self._db.execute(f"SELECT seq, phase, LENGTH(payload) FROM outbox WHERE {condition}", values)  # noqa: S608
        return [EventRow(seq, _phase(phase), size) for seq, phase, size in found]


def _phase(text: str) -> Phase:
    try:
        return Phase(text)
    except ValueError:
        raise sqlite3.DatabaseError("a row without a phase") from None

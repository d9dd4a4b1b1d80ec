"""The outbox file at the start and at the end of its life: opened, or quarantined and made anew."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.mqtt.publishing.sqlite_event_store import SqliteEventStore

_log = logging.getLogger(__name__)

_MAX_QUARANTINED = 3
"""Damaged files that are kept; older ones are removed."""


def is_damage(error: Exception) -> bool:
    """Return whether an error of SQLite means that the file itself is damaged or foreign, not that a disk is full."""
    return type(error) is sqlite3.DatabaseError


def open_outbox(path: Path, max_bytes: int, on_drop: Callable[[int], None]) -> SqliteEventStore:
    """Open the store in ``path``; what is there and is no outbox of this version is quarantined first.

    Raises:
        sqlite3.Error, OSError: the file cannot be opened, made or written.
    """
    if path.is_dir():
        quarantine(path, "a folder")
    try:
        return SqliteEventStore(path, max_bytes, on_drop)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        quarantine(path, str(error))
    return SqliteEventStore(path, max_bytes, on_drop)


def quarantine(path: Path, reason: str, clock: Clock = SYSTEM_CLOCK) -> None:
    """Rename a file that cannot be used, with its log, so that a new one can be made.

    Raises:
        OSError: it cannot be renamed.
    """
    kept = path.with_name(f"{path.name}.damaged-{clock.now():%Y%m%dT%H%M%S.%fZ}")
    path.rename(kept)
    for ending in ("-wal", "-shm"):
        companion = path.with_name(path.name + ending)
        if companion.exists():
            companion.rename(kept.with_name(kept.name + ending))
    _log.error("the outbox cannot be used (%s): it is kept as %s, and a new one is begun", reason, kept)
    damaged = (file for file in path.parent.glob(f"{path.name}.damaged-*Z") if file.is_file())
    for old in sorted(damaged)[:-_MAX_QUARANTINED]:
        for ending in ("", "-wal", "-shm"):
            old.with_name(old.name + ending).unlink(missing_ok=True)

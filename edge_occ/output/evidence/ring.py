"""The ring of one camera's events on disk, limited in bytes and in age."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.lock import locked
from edge_occ.inspection.evidence import DAY, EVENT
from edge_occ.output.evidence.disk import remove_folder, remove_leftovers, room, write_file, write_folder

LOCK = ".lock"

_DAY, _EVENT = re.compile(DAY), re.compile(EVENT)


class EvidenceRing:
    """Events in a folder, ``<day>/<time>-<id>/...``; a context manager for one thread.

    What it did not write is neither counted nor removed, but for files that were put into an event's folder: those go
    with the event.

    Args:
        folder: of the camera; made on entering.
        max_bytes: sum of the files' sizes at most, at every moment.
        max_age: age of an event, by its start, at which it is removed.
        clock: replaced in tests.
        room: returns the bytes that may be written to the disk; replaced in tests.

    Raises:
        Locked: on entering, where another inspector has this folder.
        OSError: from every method; the ring is closed then, and a new one finds out what is there.
    """

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        max_age: timedelta,
        clock: Clock = SYSTEM_CLOCK,
        room: Callable[[Path], int] = room,
    ) -> None:
        self._folder, self._max_bytes, self._max_age = folder, max_bytes, max_age
        self._clock, self._room = clock, room
        self._events: dict[
            str, dict[str, int]
        ] = {}  # by path below the folder: bytes by name of a file or folder in it
        self._stack = ExitStack()

    def __enter__(self) -> EvidenceRing:
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            stack.enter_context(locked(self._folder / LOCK))
            remove_leftovers(self._folder)
            self._events = dict(self._scan())
            self.expire()
            self._make_room(0)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def total_bytes(self) -> int:
        """Sum of the sizes of the files."""
        return sum(map(_total, self._events.values()))

    @property
    def events(self) -> list[str]:
        """Paths of the events below the folder, the next one to be removed first."""
        now = _time(self._clock.now())
        # Those that a wrong clock has put into the future come first, or they would stay for ever.
        return sorted(self._events, key=lambda event: (event[: len(now)] <= now, event))

    def require_room(self, size: int = 1) -> None:
        """Raise an :class:`OSError` if the disk does not take so many bytes."""
        if self._room(self._folder) < size:
            raise OSError(errno.ENOSPC, "the disk is full but for a reserve")

    def add_folder(self, event: str, name: str, files: Mapping[str, bytes]) -> None:
        """Add a folder of files to an event."""
        size = sum(map(len, files.values()))
        self._require(event, size)
        write_folder(self._folder / event / name, files, self._folder)
        self._events.setdefault(event, {})[name] = size

    def add_file(self, event: str, name: str, content: bytes) -> None:
        """Add a file to an event."""
        self._require(event, len(content))
        write_file(self._folder / event / name, content, self._folder)
        self._events.setdefault(event, {})[name] = len(content)

    def remove(self, event: str, name: str) -> None:
        """Remove a folder of an event."""
        remove_folder(self._folder / event / name, self._folder)
        self._events[event].pop(name, None)

    def names(self, event: str) -> list[str]:
        """Return the names of the files and folders of an event."""
        return list(self._events.get(event, ()))

    def expire(self) -> None:
        """Remove events that are too old."""
        oldest = _time(self._clock.now() - self._max_age)
        for event in [event for event in self._events if event < oldest]:
            self._remove_event(event)

    def _require(self, event: str, size: int) -> None:
        self.expire()
        self._make_room(size, event)
        self.require_room(size)

    def _make_room(self, size: int, keep: str = "") -> None:
        kept = _total(self._events.get(keep, {})) + size
        if kept > self._max_bytes:
            raise OSError(errno.ENOSPC, f"an event of {kept} bytes is larger than evidence.max_mb allows")
        total = self.total_bytes + size
        for event in self.events:
            if total <= self._max_bytes:
                return
            if event != keep:
                total -= _total(self._events[event])
                self._remove_event(event)

    def _remove_event(self, event: str) -> None:
        remove_folder(self._folder / event, self._folder)
        del self._events[event]
        with contextlib.suppress(OSError):  # not empty
            (self._folder / event).parent.rmdir()

    def _scan(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield the events on disk; empty folders of events, which a kill has left, are removed."""
        for day in _folders(self._folder, _DAY):
            for event in _folders(Path(day.path), _EVENT):
                path = f"{day.name}/{event.name}"
                with os.scandir(event.path) as entries:
                    sizes = {entry.name: _size(entry) for entry in entries}
                if sizes:
                    yield path, sizes
                else:
                    Path(event.path).rmdir()
            with contextlib.suppress(OSError):  # not empty
                Path(day.path).rmdir()


def _total(sizes: Mapping[str, int]) -> int:
    return sum(sizes.values())


def _time(moment: datetime) -> str:
    """Return a moment as the paths of events begin, so that they sort and compare by time."""
    return f"{moment:%Y-%m-%d/%H%M%S}.{moment.microsecond // 1000:03}Z"


def _folders(folder: Path, name: re.Pattern[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)]


def _size(entry: os.DirEntry[str]) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    if not entry.is_dir(follow_symlinks=False):
        return entry.stat(follow_symlinks=False).st_size
    with os.scandir(entry.path) as entries:
        return sum(_size(inner) for inner in entries)

"""A folder into which another program writes pictures: each is inspected once, as soon as it is complete."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.images import is_image, natural_order
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.sources.faults import Fault, Unscored, read_picture
from edge_occ.sources.frame import Frame
from edge_occ.sources.reader import ThreadedSource

logger = logging.getLogger(__name__)

_SCAN_SECONDS = 0.1
_MAX_SHARE = 0.1
"""Share of the time that may be spent on looking: folders with very many files are looked at less often."""
_EMPTY_SECONDS = 5.0
"""Time after which an empty file is a picture that cannot be read, not one that is about to be written."""


@dataclass(frozen=True)
class FileState:
    """A file of a folder at one moment.

    Attributes:
        name: name in the folder.
        inode, size, modified_ns: of :func:`os.stat`; all three together identify a picture, also under another name.
    """

    name: str
    inode: int
    size: int
    modified_ns: int

    @property
    def identity(self) -> tuple[int, int, int]:
        """Identity of a file's content: it stays when the file is renamed, and changes when it is written again."""
        return self.inode, self.size, self.modified_ns


class NewFiles:
    """Finds the files of a folder that are complete and were not given before; pure, time comes with every call.

    Args:
        settle: seconds for which a file must stay as it is to be complete.
        known: files that are never given.
    """

    def __init__(self, settle: float, known: Iterable[FileState] = ()) -> None:
        self._settle = settle
        self._given = {state.identity for state in known}
        self._since: dict[tuple[int, int, int], float] = {}

    def completed(self, states: Iterable[FileState], now: float) -> list[FileState]:
        """Return the files that have become complete, the earliest written first.

        Args:
            states: all files that are there.
            now: seconds on any clock that does not go back.
        """
        there = {state.identity: state for state in states}
        self._given.intersection_update(there)
        self._since = {identity: self._since.get(identity, now) for identity in there if identity not in self._given}
        done = [
            there[identity]
            for identity, since in self._since.items()
            if now - since >= (self._settle if there[identity].size else max(self._settle, _EMPTY_SECONDS))
        ]
        self._given.update(state.identity for state in done)
        return sorted(done, key=lambda state: (state.modified_ns, natural_order(Path(state.name))))


class HotFolder(ThreadedSource):
    """A lossless source of the pictures that appear in a folder; it ends when it is closed.

    A file is complete when its size and time have not changed for ``settle`` seconds; one that is renamed into the
    folder is, too.  The same picture is never given twice; a file that is written again is another picture.

    Args:
        folder: an existing folder, not its sub-folders.
        everything: give the pictures that are there at the start, too.
        settle: as above, seconds.
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.common.images.read_image`.
        on_wait: called in the reader thread at each look at the folder.

    Raises:
        InputError: there is no such folder, or it may not be read.
    """

    def __init__(
        self,
        folder: str,
        *,
        everything: bool = False,
        settle: float = 0.3,
        white: int | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(live=False)
        self._folder, self._white, self._on_wait = Path(folder), white, on_wait
        try:
            self._device, there = _look_into(self._folder)
        except OSError as error:
            expected = f"a folder {folder} to watch"
            raise InputError(expected, str(error.strerror), "make it, or check its name and permissions") from None
        self._files = NewFiles(settle, () if everything else there)
        self._warn = RateLimitedLog(logger.warning, max_messages=3, period=3600)

    def _frames(self) -> Generator[Frame | Fault, None, None]:
        index, pause = 0, 0.0
        while not self._stop.wait(pause):
            self._on_wait()
            begun = time.monotonic()
            found = self._look(begun)
            # Without the time of the inspection, which these pictures wait for: after it there may be more of them.
            pause = max(_SCAN_SECONDS, (time.monotonic() - begun) / _MAX_SHARE)
            for state in found:
                yield self._picture(state.name, index)
                index += 1
                if self._stop.is_set():
                    return

    def _look(self, now: float) -> list[FileState]:
        try:
            device, states = _look_into(self._folder)
        except OSError as error:  # a share of the network that is away
            self._warn("gone", f"{self._folder}: {error.strerror}; waiting for it")
            return []
        if device != self._device and not states:
            # The empty folder on which a share was mounted: what it held is not forgotten, or it would be new later.
            self._warn("gone", f"{self._folder}: another disk, and empty; waiting for the share")
            return []
        self._device = device
        return self._files.completed(states, now)

    def _picture(self, name: str, index: int) -> Frame | Fault:
        captured_at, captured_monotonic = datetime.now(timezone.utc), time.monotonic()
        try:
            picture = read_picture(self._folder / name, self._white)
        except Unscored as error:
            return Fault(index, captured_at, error, name)
        return Frame(index, captured_at, captured_monotonic, picture, name, ready_monotonic=time.monotonic())


def _look_into(folder: Path) -> tuple[int, list[FileState]]:
    """Return the number of the folder's file system, and the pictures in it."""
    found = []
    # Both are of one opened folder, whatever is mounted or moved meanwhile.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # removed meanwhile
                    if is_image(Path(entry.name)) and entry.is_file():
                        stat = entry.stat()
                        found.append(FileState(entry.name, stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return os.fstat(descriptor).st_dev, found
    finally:
        os.close(descriptor)

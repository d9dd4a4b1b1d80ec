"""A lock file against a second process of this machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Locked(Exception):
    """Another process holds the lock.

    Attributes:
        process: its number, as it wrote it down; ``unknown`` if it did not yet.
    """

    def __init__(self, process: str) -> None:
        super().__init__(f"process {process}")
        self.process = process


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which is made if needed and left behind; the system unlocks it when the process dies.

    Raises:
        Locked: another process holds it, or another part of this one.
        OSError: the file cannot be made or its file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(file.read(20).strip() or "unknown") from None
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield

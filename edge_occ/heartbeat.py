"""A sign of life for whoever supervises the process: a file that is touched as frames are inspected."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from edge_occ.errors import InputError
from edge_occ.inspection import Inspection

VARIABLE = "EDGE_OCC_HEARTBEAT"
"""Environment variable that names the file; without it there is no heartbeat."""

_PAUSE_SECONDS = 1.0


class Heartbeat:
    """A sink that touches a file at most once a second; its age tells how long no frame was inspected.

    Args:
        path: the file; best in memory, as it is written for ever.
        clock: seconds that only grow; tests put their own here.

    Raises:
        InputError: the file cannot be written, or holds something; later failures are none of the line's business.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._clock = path, clock
        self._next = clock()
        try:
            if path.exists() and path.stat().st_size:
                raise InputError(
                    f"an empty file or none at {path}, which {VARIABLE} names", "a file with content", "name another"
                )
            # A file of an earlier run must not speak for this one.
            path.unlink(missing_ok=True)
            path.touch()
            path.unlink()
        except OSError as error:
            raise InputError(f"a file in {VARIABLE} that can be written", str(error), "name another") from error

    def publish(self, _inspection: Inspection) -> None:
        """Touch the file if a second has passed."""
        now = self._clock()
        if now >= self._next:
            self._next = now + _PAUSE_SECONDS
            try:
                self._path.touch()
            except OSError:
                return

    def finish(self, inspection: Inspection) -> None:
        """Nothing: an event's end is no frame."""


def heartbeat_from_environment() -> Heartbeat | None:
    """The heartbeat that :data:`VARIABLE` asks for.

    Raises:
        InputError: its file cannot be written.
    """
    path = os.environ.get(VARIABLE)
    return Heartbeat(Path(path)) if path else None

"""Signs of life for whoever supervises the process, given as frames are inspected.

============================  ==========================================================================
``EDGE_OCC_HEARTBEAT``        a file that is touched; its age tells how long no frame was inspected
``EDGE_OCC_WATCHDOG``         seconds without a frame after which the process ends itself (status 7)
``NOTIFY_SOCKET``             set by systemd for units of ``Type=notify``: ready, and alive for its watchdog
============================  ==========================================================================
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType

from edge_occ.common.errors import InputError
from edge_occ.inspection.result import Inspection
from edge_occ.runtime.systemd import SOCKET, Systemd
from edge_occ.runtime.watchdog import Watchdog
from edge_occ.sources.faults import GUARDED, Fault

FILE, SECONDS = "EDGE_OCC_HEARTBEAT", "EDGE_OCC_WATCHDOG"
"""Environment variables; without them, and without systemd's, nobody is told anything."""

_PAUSE_SECONDS = 1.0

_MARK = b"edge-occ heartbeat\n"


class HeartbeatFile:
    """A file that is made at the first sign of life and touched at every other.

    Args:
        path: best in memory, as it is written for ever; free, or a heartbeat of an earlier run, which is removed, as
            it must not speak for this one.  Nothing else is ever changed or removed.

    Raises:
        InputError: something else is there, or the file cannot be written; later failures are none of the line's
            business.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        try:
            if _is_something_else(path):
                raise InputError(
                    f"a free path in {FILE}, or the heartbeat of an earlier run",
                    f"{path}, which edge-occ did not make",
                    "name another file",
                )
            path.unlink(missing_ok=True)
            os.close(self._make())
            path.unlink()
        except OSError as error:
            raise InputError(f"a file in {FILE} that can be written", str(error), "name another") from error

    def __call__(self) -> None:
        """Touch it; make it again if it was removed."""
        with suppress(OSError):
            # By the descriptor, as another program may have put a file of its own at the path.
            if self._descriptor is None or os.fstat(self._descriptor).st_nlink == 0:
                self.close()
                self._descriptor = self._make()
            os.utime(self._descriptor)

    def close(self) -> None:
        """Leave the file as it is: its age still tells when the last frame was inspected."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _make(self) -> int:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.write(descriptor, _MARK)
        return descriptor


class Heartbeat:
    """A sink that passes a sign of life on, at most once a second.

    Args:
        signs: called without arguments at each sign, one at a time; must return at once.
        closes: called when the context ends.
        clock: seconds that only grow; tests put their own here.
    """

    name = "heartbeat"

    def __init__(
        self,
        signs: Sequence[Callable[[], None]],
        closes: Sequence[Callable[[], None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signs, self._closes, self._clock = signs, closes, clock
        self._next = clock()
        self._lock = Lock()

    def __enter__(self) -> Heartbeat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for close in self._closes:
            close()

    def publish(self, _inspection: Inspection) -> None:
        """A frame was inspected."""
        self.beat()

    def beat(self) -> None:
        """Give a sign if a second has passed; from any thread, for whoever waits on purpose and is alive."""
        with self._lock:
            now = self._clock()
            if now >= self._next:
                self._next = now + _PAUSE_SECONDS
                for sign in self._signs:
                    sign()

    def fault(self, fault: Fault) -> None:
        """A frame that a guard found is a sign of life too; of any other fault, nothing."""
        if fault.reason in GUARDED:
            self.beat()

    def finish(self, inspection: Inspection) -> None:
        """Nothing: an event's end is no frame."""


def heartbeat_from_environment() -> Heartbeat:
    """The heartbeat that the environment asks for; a watchdog watches from now on.

    Raises:
        InputError: the file cannot be written or is something else, or the watchdog's seconds are no number.
    """
    signs: list[Callable[[], None]] = []
    closes: list[Callable[[], None]] = []
    if path := os.environ.get(FILE):
        file = HeartbeatFile(Path(path))
        signs.append(file)
        closes.append(file.close)
    if address := os.environ.get(SOCKET):
        signs.append(Systemd(address))
    if seconds := _seconds(os.environ.get(SECONDS, "")):
        watchdog = Watchdog(seconds)
        signs.append(watchdog.put_off)
        closes.append(watchdog.close)
    return Heartbeat(signs, closes)


def _seconds(text: str) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not (seconds == 0 or 1 <= seconds < math.inf):
        raise InputError(f"seconds, 1 or more, or 0 in {SECONDS}", text, "for instance 60")
    return seconds


def _is_something_else(path: Path) -> bool:
    """Whether there is anything at the path but a heartbeat."""
    try:
        # First, as to open a device may already do something to it.
        if not stat.S_ISREG(path.lstat().st_mode):
            return True
        with path.open("rb") as file:
            return file.read(len(_MARK) + 1) != _MARK
    except FileNotFoundError:
        return False

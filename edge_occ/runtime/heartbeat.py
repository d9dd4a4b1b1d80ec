"""Signs of life for the supervisor of the process, given as frames are inspected.

============================  ==========================================================================
``EDGE_OCC_HEARTBEAT``        a file that is touched; its age is the time since the last inspected frame
``EDGE_OCC_WATCHDOG``         seconds without a frame after which the process ends itself (status 7)
``NOTIFY_SOCKET``             set by systemd for units of ``Type=notify``: ready, and alive for its watchdog
============================  ==========================================================================
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from types import TracebackType

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.errors import InputError
from edge_occ.inspection.result import Inspection
from edge_occ.runtime.systemd import SOCKET, Systemd
from edge_occ.runtime.watchdog import FIRST_SECONDS, Watchdog
from edge_occ.sources.faults import GUARDED, Fault

FILE, SECONDS = "EDGE_OCC_HEARTBEAT", "EDGE_OCC_WATCHDOG"
"""Environment variables; without them and systemd's there are no signs of life."""

_INTERVAL_SECONDS = 1.0

_MARK = b"edge-occ heartbeat\n"


class HeartbeatFile:
    """A file that is made at the first sign of life and touched at each later one.

    Args:
        path: best on a file system in memory, because it is written all the time; free, or the heartbeat of an earlier
            run, which is removed, because its age says nothing about this one.  No other file is changed or removed.

    Raises:
        InputError: something else is there, or the file cannot be written; later failures are ignored.
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
            # By the descriptor, because another program may have put its own file at the path.
            if self._descriptor is None or os.fstat(self._descriptor).st_nlink == 0:
                self.close()
                self._descriptor = self._make()
            os.utime(self._descriptor)

    def close(self) -> None:
        """Close the file and leave it: its age is still the time since the last inspected frame."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _make(self) -> int:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        os.write(descriptor, _MARK)
        return descriptor


class Heartbeat:
    """A sink that gives a sign of life for inspected frames, at most once a second.

    Args:
        signs: called without arguments at each sign, one after another; must return at once.
        closes: called when the context ends.
        clock: replaced in tests.
    """

    name = "heartbeat"

    def __init__(
        self,
        signs: Sequence[Callable[[], None]],
        closes: Sequence[Callable[[], None]] = (),
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._signs, self._closes, self._clock = signs, closes, clock
        self._next = clock.monotonic()
        self._lock = Lock()
        self._inspecting = False

    def __enter__(self) -> Heartbeat:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for close in self._closes:
            close()

    def publish(self, _inspection: Inspection) -> None:
        """Give a sign of life if a second has passed."""
        self.beat()

    def beat(self) -> None:
        """Give a sign of life if a second has passed; from any thread."""
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._next:
                self._next = now + _INTERVAL_SECONDS
                for sign in self._signs:
                    sign()

    def waiting(self) -> None:
        """Give a sign of life for a source that may well have no frame now; from its thread.

        While a frame is inspected there is none: a source that waits goes on waiting when the engine hangs.
        """
        if not self._inspecting:
            self.beat()

    @contextmanager
    def inspecting(self) -> Iterator[None]:
        """A frame of any camera is inspected in the block."""
        self._inspecting = True
        try:
            yield
        finally:
            self._inspecting = False

    @contextmanager
    def busy(self, limit: float = FIRST_SECONDS) -> Iterator[None]:
        """Give signs of life while a block inspects nothing, such as a build, for ``limit`` seconds at most."""
        done = Event()

        def beat() -> None:
            end = self._clock.monotonic() + limit
            while not done.wait(_INTERVAL_SECONDS) and self._clock.monotonic() < end:
                self.beat()

        thread = Thread(target=beat, name="edge-occ heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def fault(self, fault: Fault) -> None:
        """Give a sign of life if a guard stopped the frame; do nothing for any other fault."""
        if fault.reason in GUARDED:
            self.beat()

    def finish(self, inspection: Inspection) -> None:
        """Do nothing: the end of an event is not a frame."""


def heartbeat_from_environment(clock: Clock = SYSTEM_CLOCK) -> Heartbeat:
    """Return the heartbeat that the environment asks for; its watchdog, if any, is running.

    Raises:
        InputError: the file cannot be written or is something else, or the watchdog's seconds are not valid.
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
        signs.append(watchdog.reset)
        closes.append(watchdog.close)
    return Heartbeat(signs, closes, clock)


def _seconds(text: str) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not (seconds == 0 or 1 <= seconds < math.inf):
        raise InputError(f"seconds, 1 or more, or 0 in {SECONDS}", text, "for instance 60")
    return seconds


def _is_something_else(path: Path) -> bool:
    """Return whether there is anything but a heartbeat at the path."""
    try:
        # Before the file is opened: opening a device may already change its state.
        if not stat.S_ISREG(path.lstat().st_mode):
            return True
        with path.open("rb") as file:
            return file.read(len(_MARK) + 1) != _MARK
    except FileNotFoundError:
        return False

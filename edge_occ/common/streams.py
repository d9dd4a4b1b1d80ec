"""Standard streams that may be closed, on a full disk, or a pipe whose reader has gone or stopped reading.

This module imports only the standard library, so that it works where a package is missing.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_OUTPUT, _ERROR = 1, 2
_WAIT_MS = 1000


class Readiness:
    """A test whether a write to a stream would return: it would block while a reader has stopped reading.

    The first test in a row that fails waits a second for the reader, the others do not wait.

    Args:
        number: file descriptor of the stream.
    """

    def __init__(self, number: int) -> None:
        self._poll = select.poll()
        self._poll.register(number, select.POLLOUT)
        self._wait_ms = _WAIT_MS

    def __call__(self) -> bool:
        """Return whether a write would return; to a pipe, a write of up to 4096 bytes."""
        ready = bool(self._poll.poll(self._wait_ms))
        self._wait_ms = _WAIT_MS if ready else 0
        return ready


class _Forgiving(io.FileIO):
    """A file that drops what it cannot write, and counts it."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self._is_ready = Readiness(number)
        self.lost = 0
        self.reader_has_gone = False

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        try:
            written = super().write(data) if self._is_ready() else None
        except OSError as error:
            written = None
            self.reader_has_gone = error.errno == errno.EPIPE
        if written is None:
            self.lost += 1
            return len(data)
        return written


@contextmanager
def forgiving_streams() -> Iterator[None]:
    """Make writes to standard error never fail while the block lasts.

    A stream that was closed before the program began is connected to /dev/null, because its descriptor must not be
    given to the next file that is opened.  After the block, Python can flush both streams at exit without an error.
    """
    for number in range(3):
        _occupy(number)
    earlier = sys.stderr
    if sys.stdout is None:
        sys.stdout = open(_OUTPUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as Python
    raw = _Forgiving(_ERROR)
    encoding = "utf-8" if earlier is None else earlier.encoding
    sys.stderr = io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True)
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = earlier
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def lost_errors() -> int:
    """Return the number of writes to standard error that have failed."""
    raw = _raw()
    return 0 if raw is None else raw.lost


def error_reader_has_gone() -> bool:
    """Return whether standard error is a pipe without a reader."""
    raw = _raw()
    return raw is not None and raw.reader_has_gone


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _raw() -> _Forgiving | None:
    raw = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    return raw if isinstance(raw, _Forgiving) else None

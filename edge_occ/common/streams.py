"""Standard output and standard error as they may be: closed, on a full disk, a pipe whose reader has gone or stopped.

Nothing here is imported but the standard library, so that it also holds where a package is missing.
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
_PATIENCE_MS = 1000


class Readiness:
    """Tells whether a write to a stream would return, for a reader that has stopped reading would hold it for ever.

    Such a reader is waited for once; then what comes is lost until it reads again.
    """

    def __init__(self, number: int) -> None:
        self._poll = select.poll()
        self._poll.register(number, select.POLLOUT)
        self._patience_ms = _PATIENCE_MS

    def __call__(self) -> bool:
        """Whether it would; of a pipe, for up to 4096 bytes."""
        ready = bool(self._poll.poll(self._patience_ms))
        self._patience_ms = _PATIENCE_MS if ready else 0
        return ready


class _Forgiving(io.FileIO):
    """A file that takes what it cannot write, and counts it."""

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
    """While the block lasts, nothing that is written for people to standard error can fail.

    A stream that was closed before the program began is like /dev/null: nobody wants it, and its number must not go to
    the next file that is opened.  Afterwards Python can flush both streams without an error at its end.
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
    """Writes to standard error that have failed."""
    raw = _raw()
    return 0 if raw is None else raw.lost


def error_reader_has_gone() -> bool:
    """Whether standard error is a pipe that nobody reads any more."""
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

"""Ends a run that hangs, so that what started it starts it again: Docker restarts what ends, not what is unhealthy."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import NoReturn

from edge_occ.common.errors import Hung

FIRST_SECONDS = 20 * 60.0
"""Until the first frame: an engine may have to be built before it, which takes minutes."""


def end_process(error: Hung) -> NoReturn:
    """Tell what is wrong and end the process at once, whatever its other threads hold."""
    lines = (("expected", error.expected), ("found", error.found), ("next", error.advice))
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _text(lines))
    os._exit(error.exit_code)


class Watchdog:
    """A thread that ends the process unless it is put off again and again.

    It needs Python's lock for a moment, so code that never gives that back keeps it from acting; capture, inference and
    MQTT all do.

    Args:
        seconds: between two signs of life.
        first: until the first one.
        end: called in the watchdog's thread, once.
    """

    def __init__(self, seconds: float, first: float = FIRST_SECONDS, end: Callable[[Hung], None] = end_process) -> None:
        self._seconds, self._first, self._end = seconds, max(first, seconds), end
        self._changed = Condition()
        self._put_off = self._closed = False
        self._thread = Thread(target=self._watch, name="edge-occ watchdog", daemon=True)
        self._thread.start()

    def put_off(self) -> None:
        """A sign of life."""
        with self._changed:
            self._put_off = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop watching."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _watch(self) -> None:
        limit, frames = self._first, "a first frame"
        with self._changed:
            while self._changed.wait_for(lambda: self._put_off or self._closed, limit):
                if self._closed:
                    return
                self._put_off = False
                limit, frames = self._seconds, "frames"
        found = f"none inspected for {limit:g} s"
        advice = "start it again; if a line may stand still for so long, set EDGE_OCC_WATCHDOG to more seconds, or 0"
        self._end(Hung(frames, found, advice))


def _text(lines: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{label:>9}  {text}\n" for label, text in lines).encode(errors="replace")

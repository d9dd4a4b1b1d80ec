"""The end of a run that hangs, so that its supervisor restarts it: Docker restarts only a process that has ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from threading import Condition, Thread
from typing import NoReturn

from edge_occ.common.errors import Hung

FIRST_SECONDS = 20 * 60.0
"""Limit until the first frame: an engine may have to be built before it, which takes minutes."""


def end_process(error: Hung) -> NoReturn:
    """Print the error and end the process at once, without waiting for locks that its other threads hold."""
    lines = (("expected", error.expected), ("found", error.found), ("next", error.advice))
    with suppress(OSError):
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _text(lines))
    os._exit(error.exit_code)


class Watchdog:
    """A thread that ends the process unless it is reset in time, again and again.

    It needs the global interpreter lock for a moment, so code that never releases that lock disables it; capture,
    inference and MQTT all release it.

    Args:
        seconds: limit between two resets.
        first: limit until the first reset, seconds; at least ``seconds`` is allowed.
        end: called once, in the watchdog's thread.
    """

    def __init__(self, seconds: float, first: float = FIRST_SECONDS, end: Callable[[Hung], None] = end_process) -> None:
        self._seconds, self._first, self._end = seconds, max(first, seconds), end
        self._changed = Condition()
        self._was_reset = self._closed = False
        self._thread = Thread(target=self._watch, name="edge-occ watchdog", daemon=True)
        self._thread.start()

    def reset(self) -> None:
        """Start the time again."""
        with self._changed:
            self._was_reset = True
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
            while self._changed.wait_for(lambda: self._was_reset or self._closed, limit):
                if self._closed:
                    return
                self._was_reset = False
                limit, frames = self._seconds, "frames"
        found = f"none inspected for {limit:g} s"
        advice = "start it again; if a line may stand still for so long, set EDGE_OCC_WATCHDOG to more seconds, or 0"
        self._end(Hung(frames, found, advice))


def _text(lines: tuple[tuple[str, str], ...]) -> bytes:
    return "".join(f"{label:>9}  {text}\n" for label, text in lines).encode(errors="replace")

"""Ctrl-C and SIGTERM as a request to finish, not as an accident."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM, with which schedulers, supervisors and containers end a process, raises :class:`KeyboardInterrupt` as
    SIGINT does; in the main thread, where alone Python allows handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@contextmanager
def interruptible(on_request: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT or SIGTERM sets; a second one raises :class:`KeyboardInterrupt` at once.

    Outside the main thread, where Python allows no handlers, the event is simply never set by a signal.

    Args:
        on_request: called once, in a thread of its own, as the interrupted code may hold the locks that it takes.
    """
    requested = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield requested
        return

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        if on_request is not None:
            threading.Thread(target=on_request, name="edge-occ interrupt", daemon=True).start()

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)

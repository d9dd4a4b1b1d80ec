"""Ctrl-C, SIGTERM and SIGHUP as a request to finish, not as an accident.

One mechanism for the whole program.  What a signal does depends on where the program is:

* where nothing has begun yet (:func:`ending_at_once`): it ends the program;
* in a command (:func:`terminable`): it raises :class:`KeyboardInterrupt`;
* where work can be finished in good order (:func:`interruptible`): the first one asks for that.

SIGTERM is how schedulers, supervisors and containers end a process, and SIGHUP how a terminal does that is closed.
SIGINT and SIGHUP stay ignored where the program was started so, as POSIX asks: ``nohup`` shields it from the terminal's
end, and a script's background job from the Ctrl-C that is meant for the job in front.  SIGTERM always ends it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
"""Exit status."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_Handler = Callable[[int, "FrameType | None"], None]

_AGAIN = 0.05
"""Seconds until a signal that came at a bad moment is tried again."""

_unanswered = False
"""Whether this command was interrupted.  A :class:`KeyboardInterrupt` that is raised in a destructor or in the callback
of a C library is printed and forgotten there; the next block that can finish in good order makes up for that."""


@contextmanager
def ending_at_once() -> Iterator[None]:
    """A signal ends the program at once: for the start, most of which is imports, and wherever nothing has begun yet.

    As process 1 of a container, a program without a handler would not be ended by SIGTERM at all.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        os._exit(INTERRUPTED)

    with _handling(handle):
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """A signal raises :class:`KeyboardInterrupt`; in the main thread, where alone Python allows handlers."""
    global _unanswered  # noqa: PLW0603 - signals are the whole process's too

    def handle(number: int, frame: FrameType | None) -> None:
        global _unanswered  # noqa: PLW0603
        _unanswered = True
        _raise(number, frame)

    try:
        with _handling(handle):
            yield
    finally:
        _unanswered = False


@contextmanager
def interruptible(on_request: Callable[[], None] | None = None) -> Iterator[threading.Event]:
    """Yield an event that the first signal sets; a second one raises :class:`KeyboardInterrupt` at once.

    Outside the main thread, where Python allows no handlers, the event is simply never set by a signal.

    Args:
        on_request: called once, in a thread of its own, as the interrupted code may hold the locks that it takes.
    """
    requested = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            _raise(number, frame)
        else:
            request()

    def request() -> None:
        requested.set()
        if on_request is not None:
            threading.Thread(target=on_request, name="edge-occ interrupt", daemon=True).start()

    with _handling(handle):
        if _unanswered:
            request()
        yield requested


def interrupt() -> None:
    """Do what SIGTERM would do now, in the main thread; where nothing handles it, raise :class:`KeyboardInterrupt`."""
    if callable(signal.getsignal(signal.SIGTERM)):
        signal.raise_signal(signal.SIGTERM)
    else:
        raise KeyboardInterrupt


def _raise(number: int, frame: FrameType | None) -> None:
    """Raise :class:`KeyboardInterrupt`, but not amid an import: C libraries answer an exception during their
    initialisation with another one, or with the end of the process.  Then the signal comes again a moment later.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            again = threading.Timer(_AGAIN, signal.pthread_kill, (threading.main_thread().ident, number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: _Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Handled is every signal but those that are to stay ignored.
    earlier = {
        number: signal.signal(number, handler)
        for number in _SIGNALS
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, former in earlier.items():
            signal.signal(number, former)

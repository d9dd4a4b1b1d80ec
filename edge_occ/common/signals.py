"""Ctrl-C, SIGTERM and SIGHUP as requests to finish.

What a signal does depends on the state of the program:

* while nothing has begun yet (:func:`ending_at_once`), it ends the program;
* in a command (:func:`terminable`), it raises :class:`KeyboardInterrupt`;
* where work can be finished in order (:func:`interruptible`), the first one requests that.

Schedulers, supervisors and containers end a process with SIGTERM, a closed terminal with SIGHUP.  SIGINT and SIGHUP
stay ignored if they were ignored at the start, as POSIX asks: by ``nohup``, and for the background job of a script,
where Ctrl-C is meant for the foreground job.  SIGTERM always ends the program.
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
"""Seconds until a signal that came during an import is sent again."""

_reloading = False
"""True in a :func:`reloadable` block, in which SIGHUP asks for a reload and for nothing else."""

_unanswered = False
"""True once this command was interrupted.  A :class:`KeyboardInterrupt` that is raised in a destructor or in the
callback of a C library is printed and lost there; the next :func:`interruptible` block then starts with the request.
"""


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let a signal end the program at once: during imports, and wherever nothing has begun yet.

    Without a handler, SIGTERM would not end a program that is process 1 of a container.
    """

    def handle(_signal: int, _frame: FrameType | None) -> None:
        os._exit(INTERRUPTED)

    with _handling(handle):
        yield


@contextmanager
def terminable() -> Iterator[None]:
    """Let a signal raise :class:`KeyboardInterrupt`; without effect outside the main thread, as Python asks."""
    global _unanswered  # noqa: PLW0603 - signals belong to the whole process, too

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

    Outside the main thread, where Python allows no handlers, no signal sets the event.

    The event is set, and ``on_request`` called, in a thread of its own, because the interrupted code may hold locks
    that they need: that of the event too, where it waits for it.

    Args:
        on_request: called once.
    """
    requested = threading.Event()
    was_asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal was_asked
        if was_asked:
            _raise(number, frame)
            return
        was_asked = True
        threading.Thread(target=request, name="edge-occ interrupt", daemon=True).start()

    def request() -> None:
        requested.set()
        if on_request is not None:
            on_request()

    with _handling(handle):
        if _unanswered:
            was_asked = True
            requested.set()
            threading.Thread(target=request, name="edge-occ interrupt", daemon=True).start()
        yield requested


@contextmanager
def reloadable(on_request: Callable[[], None]) -> Iterator[None]:
    """Let SIGHUP ask for a reload where no terminal belongs to the process, as under systemd or in a container.

    With a terminal it keeps its meaning: the terminal was closed.  Outside the main thread nothing changes.  An
    :func:`interruptible` block inside leaves SIGHUP alone, so that one that comes while the program starts or ends does
    not end it, nor cut its end short.

    Args:
        on_request: called at each SIGHUP in the main thread, between two of its instructions, also of an earlier call:
            it must take no lock, and return at once.  :meth:`queue.SimpleQueue.put` may be called.
    """
    global _reloading  # noqa: PLW0603 - signals belong to the whole process
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or _has_terminal() or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield
        return
    former = signal.signal(signal.SIGHUP, lambda _signal, _frame: on_request())
    _reloading = True
    try:
        yield
    finally:
        _reloading = False
        signal.signal(signal.SIGHUP, former)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def interrupt() -> None:
    """Act as SIGTERM would now, in the main thread; without a handler, raise :class:`KeyboardInterrupt`."""
    if callable(signal.getsignal(signal.SIGTERM)):
        signal.raise_signal(signal.SIGTERM)
    else:
        raise KeyboardInterrupt


def _raise(number: int, frame: FrameType | None) -> None:
    """Raise :class:`KeyboardInterrupt`, but not during an import: an exception in the initialisation of a C library
    becomes another one, or ends the process.  The signal is sent again a moment later instead.
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
    # A signal that was ignored at the start stays ignored.
    earlier = {
        number: signal.signal(number, handler)
        for number in _SIGNALS
        if (number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN)
        and not (number is signal.SIGHUP and _reloading)
    }
    try:
        yield
    finally:
        for number, former in earlier.items():
            signal.signal(number, former)

"""Requests of other threads to the thread that inspects, such as to exchange the head of the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

Result = TypeVar("Result")


class Control:
    """A queue of requests that are carried out between two frames.

    An engine belongs to the thread that opened it, and a camera's guards, threshold and events belong together: what
    changes them runs in that thread, while no frame is being inspected.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pending: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._on_request: Callable[[], None] = lambda: None
        self._closed = False

    def notify(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` at each request; it must return at once."""
        self._on_request = callback

    def submit(self, action: Callable[[], Result]) -> Future[Result]:
        """Have ``action`` called in the thread that inspects; from any thread.

        Returns:
            Its result or its error, once it was called; cancelled where no frame will be inspected any more.
        """
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                future.cancel()
                return future
            self._pending.append((action, future))
        self._on_request()
        return future

    @property
    def waiting(self) -> bool:
        """True if there is a request."""
        with self._lock:
            return bool(self._pending)

    def run_pending(self) -> None:
        """Carry out all requests; an error of one is its result."""
        while (request := self._next()) is not None:
            action, future = request
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(action())
            except Exception as error:  # noqa: BLE001 - belongs to who asked
                future.set_exception(error)

    def close(self) -> None:
        """Cancel what waits, and every later request."""
        with self._lock:
            self._closed = True
        while (request := self._next()) is not None:
            request[1].cancel()

    def _next(self) -> tuple[Callable[[], Any], Future[Any]] | None:
        with self._lock:
            return self._pending.popleft() if self._pending else None

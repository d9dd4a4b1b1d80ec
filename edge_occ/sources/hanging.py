"""Calls of a camera driver that may never return: made in a thread that can be left behind."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from edge_occ.sources.capture import Capture

logger = logging.getLogger(__name__)

MAX_HANGING = 4
"""Threads of one camera that may wait for its driver at the same time; only when one of them has returned is the camera
opened again."""

_RELEASE_SECONDS = 5.0


class HangingOpener:
    """Opens captures whose calls return within a time limit, whatever the driver does.

    Args:
        open_capture: opens the device.
        limit: seconds until a call is given up; :data:`math.inf` for a triggered camera, whose reads may take any time.
    """

    def __init__(self, open_capture: Callable[[str], Capture], limit: float) -> None:
        self._open_capture, self._limit = open_capture, limit
        self._hanging: list[threading.Thread] = []

    def __call__(self, device: str) -> Capture:
        """Open the device; the capture is not opened if that fails or takes too long."""
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        capture = _GuardedCapture(
            lambda: self._open_capture(device), self._limit, self._hanging, can_open=len(self._hanging) < MAX_HANGING
        )
        try:
            capture.open()
        except Exception:
            capture.release()
            raise
        return capture


class _GuardedCapture:
    """A capture that belongs to a thread of its own; after a call that hangs it counts as closed.

    The thread releases the device as soon as the driver returns.
    """

    def __init__(
        self, open_capture: Callable[[], Capture], limit: float, hanging: list[threading.Thread], *, can_open: bool
    ) -> None:
        self._open_capture, self._limit, self._hanging = open_capture, limit, hanging
        self._requests: SimpleQueue[tuple[Callable[[Capture], Any], SimpleQueue[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="edge-occ camera driver", daemon=True)
        self._usable = can_open

    def open(self) -> None:
        """Open the device."""
        if self._usable:
            self._thread.start()
            self._usable = self._call(lambda capture: capture.isOpened(), False)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """True while there is something to read from."""
        return self._usable and bool(self._call(lambda capture: capture.isOpened(), False))

    def read(self) -> tuple[bool, Any]:
        """Return whether there was a frame, and the frame."""
        return self._call(lambda capture: capture.read(), (False, None))  # type: ignore[no-any-return]

    def get(self, prop: int, /) -> float:
        """Return the value of a property; 0 if unknown."""
        return self._call(lambda capture: capture.get(prop), 0.0)  # type: ignore[no-any-return]

    def set(self, prop: int, value: float, /) -> bool:
        """Request the value of a property."""
        return self._call(lambda capture: capture.set(prop, value), False)  # type: ignore[no-any-return]

    def release(self) -> None:
        """Close the device, or have it closed as soon as the driver returns."""
        self._usable = False
        self._requests.put(None)
        if self._thread.ident is not None and self._thread not in self._hanging:
            self._thread.join(min(self._limit, _RELEASE_SECONDS))
            if self._thread.is_alive():
                self._hanging.append(self._thread)

    def _call(self, function: Callable[[Capture], Any], otherwise: object) -> Any:  # noqa: ANN401 - whatever it gives
        if not self._usable:
            return otherwise
        answer: SimpleQueue[Any] = SimpleQueue()
        self._requests.put((function, answer))
        try:
            result = answer.get(timeout=None if math.isinf(self._limit) else self._limit)
        except Empty:
            self._usable = False
            self._hanging.append(self._thread)
            logger.warning("the camera driver did not return within %g s; the camera is opened again", self._limit)
            return otherwise
        if isinstance(result, Exception):
            raise result
        return result

    def _serve(self) -> None:
        try:
            capture = self._open_capture()
        except Exception as error:  # noqa: BLE001 - raised again in the thread that asked
            while (request := self._requests.get()) is not None:
                request[1].put(error)
            return
        while (request := self._requests.get()) is not None:
            function, answer = request
            try:
                answer.put(function(capture))
            except Exception as error:  # noqa: BLE001 - as above
                answer.put(error)
        capture.release()

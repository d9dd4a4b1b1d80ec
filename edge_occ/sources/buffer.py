"""The bounded queue between the thread that reads frames and the one that scores them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Condition

from edge_occ.sources.faults import Fault
from edge_occ.sources.frame import Frame


class FrameBuffer:
    """A bounded queue that, when full, either waits (files) or drops the oldest frame and counts it (cameras).

    One thread calls :meth:`put` and :meth:`finish`, another :meth:`get` and :meth:`close`.

    Args:
        capacity: frames at most; 1 with ``overwrite`` is the latest-frame slot of a camera.
        overwrite: drop the oldest frame instead of waiting for room.
        max_bytes: bytes of the frames at most; a single frame may be larger.

    Attributes:
        dropped: frames dropped so far.
        on_change: called after every :meth:`put`, :meth:`finish` and :meth:`close`, with the lock held; must return at
            once.
    """

    def __init__(self, capacity: int, *, overwrite: bool, max_bytes: int = 32 << 20) -> None:
        self.overwrite = overwrite
        self.dropped = 0
        self.on_change: Callable[[], None] = lambda: None
        self._capacity, self._max_bytes = capacity, max_bytes
        self._frames: deque[Frame | Fault] = deque()
        self._changed = Condition()
        self._finished = self._closed = False
        self._error: BaseException | None = None

    def put(self, frame: Frame | Fault) -> bool:
        """Append a frame, waiting for room if necessary; return false once the buffer is closed."""
        with self._changed:
            if not self.overwrite:
                self._changed.wait_for(lambda: self._closed or self._has_room(frame))
            if self._closed:
                return False
            if len(self._frames) == self._capacity:
                self._frames.popleft()
                self.dropped += 1
            if self.dropped and isinstance(frame, Frame):
                frame = replace(frame, dropped=self.dropped)
            self._frames.append(frame)
            self._announce()
            return True

    def wait_for_room(self, frame: Frame | Fault) -> None:
        """Wait until the buffer has room for a frame of this size, or is closed.

        A reader that waits here before it decodes the next frame does not hold that frame in addition to the buffer; a
        4K frame takes 25 MB.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.overwrite or self._closed or self._has_room(frame))

    def _has_room(self, frame: Frame | Fault) -> bool:
        held = sum(map(_bytes, self._frames))
        return not self._frames or (len(self._frames) < self._capacity and held + _bytes(frame) <= self._max_bytes)

    @property
    def ended(self) -> bool:
        """True if there will be no frame any more."""
        with self._changed:
            return self._closed or (self._finished and not self._frames)

    def get(self) -> Frame | Fault | None:
        """Return the next frame, waiting for it if necessary; ``None`` at the end.

        Raises:
            BaseException: the error given to :meth:`finish`, after the last frame.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._finished or self._closed)
            return self.poll()

    def poll(self) -> Frame | Fault | None:
        """Return the next frame if there is one now, else ``None``.

        Raises:
            BaseException: as :meth:`get`.
        """
        with self._changed:
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._error is not None and not self._closed:
                raise self._error
            return None

    def finish(self, error: BaseException | None = None) -> None:
        """End the input; the frames in the buffer are still returned, then the error, if any, is raised."""
        with self._changed:
            self._finished, self._error = True, error
            self._announce()

    def close(self) -> None:
        """Discard the frames in the buffer and end every wait."""
        with self._changed:
            self._closed = True
            self._frames.clear()
            self._announce()

    def _announce(self) -> None:
        self._changed.notify_all()
        self.on_change()


def _bytes(frame: Frame | Fault) -> int:
    return frame.image.nbytes if isinstance(frame, Frame) else 0

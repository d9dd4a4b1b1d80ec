"""The bounded place between the thread that reads frames and the one that scores them."""

from __future__ import annotations

from collections import deque
from threading import Condition

from edge_occ.sources.faults import Fault
from edge_occ.sources.frame import Frame


class FrameBuffer:
    """A bounded queue that either waits when full (files) or forgets the oldest frame and counts it (cameras).

    One thread puts and finishes, another gets and closes.

    Args:
        capacity: frames held at most; 1 with ``overwrite`` makes the latest-frame slot of a camera.
        overwrite: forget the oldest frame rather than wait for room.
        most_bytes: of frames held at most where there are several; one is held whatever its size.
    """

    def __init__(self, capacity: int, *, overwrite: bool, most_bytes: int = 32 << 20) -> None:
        self.overwrite = overwrite
        self.dropped = 0
        self._capacity, self._most_bytes = capacity, most_bytes
        self._frames: deque[Frame | Fault] = deque()
        self._changed = Condition()
        self._finished = self._closed = False
        self._error: BaseException | None = None

    def put(self, frame: Frame | Fault) -> bool:
        """Add a frame, waiting for room if need be; returns false once nobody wants frames any more."""
        with self._changed:
            if not self.overwrite:
                self._changed.wait_for(lambda: self._closed or self._has_room(frame))
            if self._closed:
                return False
            if len(self._frames) == self._capacity:
                self._frames.popleft()
                self.dropped += 1
            self._frames.append(frame)
            self._changed.notify_all()
            return True

    def _has_room(self, frame: Frame | Fault) -> bool:
        held = sum(map(_bytes, self._frames))
        return not self._frames or (len(self._frames) < self._capacity and held + _bytes(frame) <= self._most_bytes)

    def get(self) -> Frame | Fault | None:
        """The next frame, waiting for it if need be; ``None`` when no more will come.

        Raises:
            BaseException: what :meth:`finish` was given, after the last frame.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._finished or self._closed)
            if self._frames:
                frame = self._frames.popleft()
                self._changed.notify_all()
                return frame
            if self._error is not None and not self._closed:
                raise self._error
            return None

    def finish(self, error: BaseException | None = None) -> None:
        """No more frames will be put; those held can still be got, and the error, if any, comes after them."""
        with self._changed:
            self._finished, self._error = True, error
            self._changed.notify_all()

    def close(self) -> None:
        """No more frames are wanted: forget those held and wake whoever waits."""
        with self._changed:
            self._closed = True
            self._frames.clear()
            self._changed.notify_all()


def _bytes(frame: Frame | Fault) -> int:
    return frame.image.nbytes if isinstance(frame, Frame) else 0

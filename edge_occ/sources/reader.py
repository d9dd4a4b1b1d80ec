"""Base class of sources with a reader thread."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from threading import Event, Thread
from types import TracebackType
from typing import TypeVar

from edge_occ.sources.buffer import FrameBuffer
from edge_occ.sources.faults import Fault
from edge_occ.sources.frame import Frame

logger = logging.getLogger(__name__)

_SourceT = TypeVar("_SourceT", bound="ThreadedSource")

_READ_AHEAD = 4
_JOIN_SECONDS = 5.0


class ThreadedSource(ABC):
    """A source whose frames are read in its own thread; used once.

    Args:
        live: keep only the latest frame and count the others as dropped; otherwise read a few ahead and drop none.
    """

    def __init__(self, *, live: bool) -> None:
        self._buffer = FrameBuffer(1 if live else _READ_AHEAD, overwrite=live)
        self._stop = Event()
        self._thread = Thread(target=self._read, name="edge-occ source", daemon=True)

    @abstractmethod
    def _frames(self) -> Generator[Frame | Fault, None, None]:
        """Yield frames in the reader thread until there are no more or ``_stop`` is set."""

    @property
    def live(self) -> bool:
        """True if frames are dropped while the reader is busy."""
        return self._buffer.overwrite

    @property
    def dropped(self) -> int:
        """Frames dropped so far."""
        return self._buffer.dropped

    def __enter__(self: _SourceT) -> _SourceT:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._thread.join(_JOIN_SECONDS)
        if self._thread.is_alive():
            # A driver may block a read for some 10 s; the thread releases its device as soon as that returns.
            logger.warning("the source is still reading after %g s; not waiting any longer", _JOIN_SECONDS)

    def __iter__(self) -> Iterator[Frame | Fault]:
        """Iterate over the frames until the source is exhausted or closed.

        Raises:
            RuntimeError: the source was not entered with ``with``.
            UserError: the reader thread failed; raised after the last frame.
        """
        self._require_entered()
        return iter(self._buffer.get, None)

    def poll(self) -> Frame | Fault | None:
        """Return the next frame if there is one now, else ``None``.

        Raises:
            RuntimeError: the source was not entered with ``with``.
            UserError: the reader thread failed; raised after the last frame.
        """
        self._require_entered()
        return self._buffer.poll()

    @property
    def ended(self) -> bool:
        """True once there will be no frame any more."""
        return self._buffer.ended

    def notify(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever there may be a new frame, or the end."""
        self._buffer.on_change = callback

    def close(self) -> None:
        """End the iteration, from any thread, any number of times; leaving the ``with`` block releases the device."""
        self._stop.set()
        self._buffer.close()

    def _require_entered(self) -> None:
        if self._thread.ident is None:
            raise RuntimeError("use a source inside its `with` block")

    def _read(self) -> None:
        try:
            with closing(self._frames()) as frames:
                for frame in frames:
                    if not self._buffer.put(frame):
                        break
                    self._buffer.wait_for_room(frame)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that iterates
            self._buffer.finish(error)
        else:
            self._buffer.finish()

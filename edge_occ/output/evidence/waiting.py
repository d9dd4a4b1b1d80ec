"""The evidence that waits to be written: a bounded queue that keeps starts rather than peaks."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import EvidencePaths
from edge_occ.inspection.result import Inspection

_MAX_PICTURES, _MAX_PIXEL_BYTES = 16, 64_000_000
_MAX_PIECES = 100


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of evidence.

    Attributes:
        event: id of the event.
        phase: of the event's change.
        paths: where it is to be.
        record: content of its JSON file.
        inspection: with the picture; ``None`` for the end of an event.
    """

    event: str
    phase: Phase
    paths: EvidencePaths
    record: bytes
    inspection: Inspection | None

    @property
    def pixel_bytes(self) -> int:
        """Bytes of the frame."""
        return 0 if self.inspection is None else self.inspection.frame.image.nbytes


class WaitingEvidence:
    """Pieces in order; every method but :meth:`take` returns at once, and all may be called from any thread.

    A new peak replaces one of the same event that still waits.  A full queue drops its oldest peak for anything else;
    without a peak, and for one, it drops what is put.

    Args:
        max_pictures, max_pixel_bytes: frames at most, and bytes of their pixels; one frame of any size is taken.
        max_pieces: pieces at most, ends among them.
    """

    def __init__(
        self,
        max_pictures: int = _MAX_PICTURES,
        max_pixel_bytes: int = _MAX_PIXEL_BYTES,
        max_pieces: int = _MAX_PIECES,
    ) -> None:
        self._max_pictures, self._max_pixel_bytes, self._max_pieces = max_pictures, max_pixel_bytes, max_pieces
        self._pieces: deque[Piece] = deque()
        self._changed = threading.Condition()
        self._taken = 0
        self._closed = False

    def put(self, piece: Piece) -> int:
        """Append a piece; return the number of pieces that were dropped for lack of room."""
        dropped = 0
        with self._changed:
            if piece.phase is Phase.UPDATE:
                self._drop(next((other for other in self._peaks() if other.event == piece.event), None))
            while not self._fits(piece):
                dropped += 1
                peak = next(iter(self._peaks()), None)
                if peak is None or piece.phase is Phase.UPDATE:
                    return dropped
                self._drop(peak)
            self._pieces.append(piece)
            self._changed.notify()
        return dropped

    def take(self, seconds: float) -> Piece | None:
        """Return the oldest piece; ``None`` if none came in so many seconds, or at once if closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._closed, seconds)
            if not self._pieces:
                return None
            self._taken += 1
            return self._pieces.popleft()

    def done(self) -> None:
        """Record that a piece that was taken is written or lost."""
        with self._changed:
            self._taken -= 1

    @property
    def depth(self) -> int:
        """Pieces that are not done."""
        with self._changed:
            return self._taken + len(self._pieces)

    def close(self) -> None:
        """Let :meth:`take` no longer wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drop_all(self) -> int:
        """Drop every piece, and return how many there were."""
        with self._changed:
            count = len(self._pieces)
            self._pieces.clear()
        return count

    def _peaks(self) -> list[Piece]:
        return [piece for piece in self._pieces if piece.phase is Phase.UPDATE]

    def _drop(self, piece: Piece | None) -> None:
        if piece is not None:
            self._pieces.remove(piece)

    def _fits(self, piece: Piece) -> bool:
        if len(self._pieces) >= self._max_pieces:
            return False
        pictures = [waiting.pixel_bytes for waiting in self._pieces if waiting.inspection is not None]
        if piece.inspection is None or not pictures:
            return True
        return len(pictures) < self._max_pictures and sum(pictures) + piece.pixel_bytes <= self._max_pixel_bytes

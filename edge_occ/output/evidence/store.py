"""The sink that keeps evidence of events on disk: the frame path only appends to a queue; one thread writes.

A disk that is full or cannot be written costs the evidence, which is counted, and nothing else.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType

import cv2

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.errors import InputError
from edge_occ.common.lock import Locked
from edge_occ.inspection.events import Phase
from edge_occ.inspection.evidence import HEATMAP, EvidenceNames, EvidencePaths
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.messages import event_message, score_message
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence import disk
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.ring import EvidenceRing
from edge_occ.output.evidence.waiting import Piece, WaitingEvidence
from edge_occ.sources.faults import Fault, one_line

_log = logging.getLogger(__name__)

_JPEG_QUALITY = 95
_EXPIRE_SECONDS = 60.0
_RETRY_SECONDS = 5.0


class EvidenceStore:
    """Keeps evidence of one camera's events; a context manager that owns its thread and its part of the folder.

    Args:
        folder: evidence folder, below which the camera has one of its own.
        config: limits and format.
        origin: device and camera.
        render: makes the JPEG of a heatmap, called in the thread that writes.
        bundle: name for the records.
        clock: replaced in tests.
        room: returns the bytes that may be written to the disk of a folder; replaced in tests.

    Raises:
        InputError: on entering, where another inspector of this machine keeps evidence of this camera in this folder.
    """

    name = "evidence"

    def __init__(
        self,
        folder: Path,
        config: EvidenceConfig,
        origin: Origin,
        render: Callable[[Inspection], bytes],
        *,
        bundle: str = "",
        clock: Clock = SYSTEM_CLOCK,
        room: Callable[[Path], int] = disk.room,
    ) -> None:
        self._config, self._origin, self._render, self._bundle = config, origin, render, bundle
        self._clock, self._room = clock, room
        self._names = EvidenceNames(origin.camera, config.suffix)
        self._folder = folder / self._names.camera
        self._waiting = WaitingEvidence()
        self._ring: EvidenceRing | None = None
        self._opened = ExitStack()
        self._lost, self._lock = 0, threading.Lock()
        self._lost_since: int | None = None  # pieces lost before the present failure; None while the disk works
        self._retry_at = float("-inf")
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="edge-occ-evidence", daemon=True)

    def __enter__(self) -> EvidenceStore:
        try:
            self._open()
        except Locked as other:
            raise InputError(
                f"one inspector for the evidence in {self._folder}",
                f"another one on this machine, process {other.process}",
                "give each camera a name, --set mqtt.camera=NAME, or another evidence.folder",
            ) from None
        except OSError as error:
            self._failed(error, 0)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def lost(self) -> int:
        """Pieces of evidence (of a start, a peak or an end) that could not be kept, so far."""
        with self._lock:
            return self._lost

    @property
    def waiting(self) -> int:
        """Pieces that wait to be written, the one under way included."""
        return self._waiting.depth

    def paths(self, inspection: Inspection) -> EvidencePaths:
        """Return where the evidence of an inspection's event change is to be; it may still be lost."""
        return self._names.paths(inspection)

    def publish(self, inspection: Inspection) -> None:
        """Queue the evidence of an inspection's event change, if any; never blocks."""
        change = inspection.event
        if change is None:
            return
        paths = self.paths(inspection)
        pictured = None if change.phase is Phase.END else inspection
        piece = Piece(change.id, change.phase, paths, self._record(inspection, paths), pictured)
        self._count_lost(self._waiting.put(piece))

    def fault(self, fault: Fault) -> None:
        """Do nothing: a frame that could not be inspected is no evidence."""

    def finish(self, inspection: Inspection) -> None:
        """Queue the record of the open event's end."""
        self.publish(inspection)

    def close(self, timeout: float = 5.0) -> None:
        """Write what waits, for ``timeout`` seconds at most; what is left then is lost.  Does nothing a second time."""
        if self._closed:
            return
        self._closed = True
        self._waiting.close()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        self._count_lost(self._waiting.drop_all())
        if self.lost:
            _log.warning("%d pieces of evidence could not be kept", self.lost)

    def _record(self, inspection: Inspection, paths: EvidencePaths) -> bytes:
        """Return the JSON of a record: the score and event messages in one, and the bundle."""
        score = score_message(inspection, 0, self._origin).model_dump(
            mode="json", by_alias=True, exclude={"latency_ms"}
        )
        event = event_message(inspection, self._origin, paths).model_dump(
            mode="json", by_alias=True, exclude={"historical", "reason"}
        )
        content = {**score, **event, "schema": "edge-occ/evidence/1", "bundle": self._bundle}
        return json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"

    def _run(self) -> None:
        """Write until closed; in the thread."""
        with self._opened:
            while True:
                piece = self._waiting.take(_EXPIRE_SECONDS)
                if piece is not None:
                    self._attempt(partial(self._write, piece), 1)
                    self._waiting.done()
                elif self._closed:
                    return
                else:
                    self._attempt(EvidenceRing.expire, 0)

    def _attempt(self, action: Callable[[EvidenceRing], None], pieces: int) -> None:
        """Do something with the ring, which is opened anew after a failure; count the pieces if it fails."""
        if self._clock.monotonic() < self._retry_at:
            self._count_lost(pieces)
            return
        try:
            action(self._ring or self._open())
        except Exception as error:  # noqa: BLE001 - no piece of evidence may end the thread
            self._failed(error, pieces)
        else:
            if pieces:
                self._worked()

    def _open(self) -> EvidenceRing:
        config = self._config
        ring = EvidenceRing(self._folder, config.max_bytes, config.max_age, self._clock, self._room)
        self._ring = self._opened.enter_context(ring)
        return self._ring

    def _write(self, piece: Piece, ring: EvidenceRing) -> None:
        record = PurePosixPath(piece.paths.evidence_record)
        # Below the folder of the camera, as the ring names it.
        _, day, event, *folder = record.parent.parts
        event = f"{day}/{event}"
        if piece.inspection is None:
            ring.add_file(event, record.name, piece.record)
            return
        ring.require_room()  # before a picture is encoded in vain
        frame = PurePosixPath(piece.paths.evidence_frame)
        files = {
            frame.name: _encode(piece.inspection, frame.suffix),
            HEATMAP: self._render(piece.inspection),
            record.name: piece.record,
        }
        (name,) = folder
        ring.add_folder(event, name, files)
        if piece.phase is Phase.UPDATE:
            for former in ring.names(event):
                if former.startswith("peak-") and former != name:
                    ring.remove(event, former)

    def _failed(self, error: Exception, pieces: int) -> None:
        self._opened.close()
        self._ring = None
        self._retry_at = self._clock.monotonic() + _RETRY_SECONDS
        if self._lost_since is None:
            self._lost_since = self.lost
            _log.warning("no evidence is kept in %s until this is mended: %s", self._folder, one_line(error))
        self._count_lost(pieces)

    def _worked(self) -> None:
        if self._lost_since is not None:
            _log.warning("evidence is kept again, after %d lost pieces", self.lost - self._lost_since)
            self._lost_since = None

    def _count_lost(self, pieces: int) -> None:
        with self._lock:
            self._lost += pieces


def _encode(inspection: Inspection, suffix: str) -> bytes:
    """Return the frame in the format of a suffix; PNG at OpenCV's default, its fastest compression."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    done, data = cv2.imencode(suffix, inspection.frame.image, options)
    if not done:
        raise RuntimeError(f"OpenCV does not encode a frame of {inspection.frame.image.shape} as {suffix}")
    return data.tobytes()

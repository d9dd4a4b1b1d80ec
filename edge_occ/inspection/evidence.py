"""Paths of an event's evidence: they follow from the event alone, before anything is written.

An event's folder is ``<camera>/<day>/<time>-<event id>``, by the capture of its start, in UTC.  It holds a folder for
the start, ``start-<frame>``, one for the frame of the highest peak so far, ``peak-<frame>``, and at last ``end.json``.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from edge_occ.common.file_name import FILE_NAME, file_name
from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Inspection

DAY = r"\d{4}-\d{2}-\d{2}"
EVENT = rf"\d{{6}}\.\d{{3}}Z-{FILE_NAME}"
PIECE = r"(?:start|peak)-\d{6,}"
"""Regular expressions of the names of folders."""

HEATMAP, RECORD, END_RECORD = "heatmap.jpg", "record.json", "end.json"
"""Names of files; that of the frame has the ending of its format."""

_NO_NAME = "default"
"""Folder of a camera without a name."""


class EvidencePaths(NamedTuple):
    """Keys of an event message: paths relative to the evidence folder, empty where no evidence is kept.

    Attributes:
        evidence_frame: the frame as it was inspected; at the end of an event, that of its highest peak.
        evidence_heatmap: the scores of that frame, drawn over it.
        evidence_record: JSON about the frame of the message.
    """

    evidence_frame: str = ""
    evidence_heatmap: str = ""
    evidence_record: str = ""


class Evidence(Protocol):
    """A store of evidence, as far as a publisher needs to know it."""

    @property
    def lost(self) -> int:
        """Pieces of evidence that could not be kept, so far."""

    def paths(self, inspection: Inspection) -> EvidencePaths:
        """Return where the evidence of an inspection's event change is to be; called in the order of the frames."""


class NoEvidence:
    """The :class:`Evidence` where none is kept."""

    lost = 0

    def paths(self, inspection: Inspection) -> EvidencePaths:  # noqa: ARG002 - the same for all
        """Return empty paths."""
        return EvidencePaths()


class EvidenceNames:
    """The paths of one camera's events; for changes in the order of the frames, any of them more than once.

    Args:
        camera: name of the camera, any text; empty for the only one.
        suffix: ending of the frame's file, ``png`` or ``jpg``.

    Attributes:
        camera: folder of the camera's events.
    """

    def __init__(self, camera: str = "", suffix: str = "png") -> None:
        self.camera = file_name(camera) if camera else _NO_NAME
        self._suffix = suffix
        self._id = self._event = self._piece = ""

    def paths(self, inspection: Inspection) -> EvidencePaths:
        """Return where the evidence of an inspection's event change is to be; empty paths without a change."""
        change, frame = inspection.event, inspection.frame
        if change is None:
            return EvidencePaths()
        if change.id != self._id:
            moment = frame.captured_at
            time = f"{moment:%Y-%m-%d/%H%M%S}.{moment.microsecond // 1000:03}Z"
            self._id, self._event, self._piece = change.id, f"{self.camera}/{time}-{file_name(change.id)}", ""
        if change.phase is not Phase.END:
            kind = "start" if change.phase is Phase.START else "peak"
            self._piece = f"{self._event}/{kind}-{frame.index:06}"
        pictures = (f"{self._piece}/frame.{self._suffix}", f"{self._piece}/{HEATMAP}") if self._piece else ("", "")
        record = f"{self._event}/{END_RECORD}" if change.phase is Phase.END else f"{self._piece}/{RECORD}"
        return EvidencePaths(*pictures, record)

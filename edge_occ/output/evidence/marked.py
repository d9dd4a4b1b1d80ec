"""Events that a person has marked, and their frames as they were inspected, read from an evidence folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.file_name import FILE_NAME
from edge_occ.inspection.evidence import DAY, EVENT, PIECE
from edge_occ.output.evidence.label import read_label

_CAMERA, _DAY, _EVENT, _PIECE = map(re.compile, (FILE_NAME, DAY, EVENT, PIECE))
_FRAMES = ("frame.png", "frame.jpg")


@dataclass(frozen=True)
class MarkedEvent:
    """An event with a label.

    Attributes:
        camera: name of the camera's folder.
        path: ``camera/day/time-id``, as in event messages.
        label: ``good`` or ``defect``.
        frames: the frames of its start and of its peak, as far as they were kept, in the order of capture.
    """

    camera: str
    path: str
    label: str
    frames: tuple[Path, ...]


def marked_events(folder: Path) -> list[MarkedEvent]:
    """Return the events with a label, by camera and time; an inspector may go on writing meanwhile.

    Args:
        folder: the evidence folder, or the folder of one camera in it.

    Raises:
        InputError: no such folder, one that cannot be read, or a damaged label.
    """
    try:
        days = _folders(folder, _DAY)
        cameras = [folder.resolve()] if days else _folders(folder, _CAMERA)
        return [event for camera in cameras for event in _events(camera)]
    except OSError as error:
        raise InputError(
            f"an evidence folder, or that of a camera in it, at {folder}",
            str(error.strerror),
            "name the folder of evidence.folder in the configuration of the run",
        ) from error


def _events(camera: Path) -> Iterator[MarkedEvent]:
    for day in _folders(camera, _DAY):
        for event in _folders(day, _EVENT):
            label = read_label(event)
            if label is not None:
                pieces = sorted(_folders(event, _PIECE), key=_frame_number)
                frames = (piece / name for piece in pieces for name in _FRAMES)
                path = f"{camera.name}/{day.name}/{event.name}"
                yield MarkedEvent(camera.name, path, label, tuple(frame for frame in frames if frame.is_file()))


def _folders(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the folders of a form of name in a folder, sorted; links are passed over."""
    found = (path for path in folder.iterdir() if name.fullmatch(path.name) and not path.is_symlink())
    return sorted(path for path in found if path.is_dir())


def _frame_number(piece: Path) -> int:
    return int(piece.name.partition("-")[2])

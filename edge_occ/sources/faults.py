"""Frames that could not be inspected, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import UserError
from edge_occ.common.images import read_image

_MAX_DETAIL = 300
"""Characters of an error message on one line."""


class Reason(str, Enum):
    """Reason why a frame was not inspected."""

    UNREADABLE = "unreadable"
    """The source could not decode it, or its file is missing."""
    FRAME = "frame"
    """It is not uint8 ``[height, width, 3]``."""
    ENGINE = "engine"
    """An error was raised during its inspection."""
    SCORE = "score"
    """Its score, or a pixel of its score map, is not finite; it would compare as normal."""
    BLACK = "black"
    """It is far darker and flatter than every training image; this and the following: edge_occ/inspection/guards.py."""
    WHITE = "white"
    """It is far brighter and flatter than every training image."""
    UNIFORM = "uniform"
    """It has one colour."""
    GREY = "grey"
    """It has no colours, as the training images have."""
    TORN = "torn"
    """A part of its rows repeats the row above."""
    BLURRED = "blurred"
    """Its edges are far smoother than those of every training image."""
    EXPOSURE = "exposure"
    """All of it is far darker, or far brighter, than in every training image, with its contrast."""
    SIZE = "size"
    """A camera gives it in another size than that of the training images."""
    REPEATED = "repeated"
    """It equals the frame of the camera before it, pixel by pixel."""
    FROZEN = "frozen"
    """The same, for many frames and seconds."""
    NO_PART = "no part"
    """Nothing lies before a plain ground; this and the following: edge_occ/bundle/pose.py."""
    SMALL = "part too small"
    """The largest part is a fragment, or dust."""
    SEVERAL = "several parts"
    """There is another part besides the largest."""
    EDGE = "part at the edge"
    """A piece of the part lies outside the frame."""
    LARGE = "part too large"
    """The part does not fit into the cut-out."""
    DIRECTION = "direction undecided"
    """The outline does not show how the part lies."""


POSELESS = frozenset((Reason.NO_PART, Reason.SMALL, Reason.SEVERAL, Reason.EDGE, Reason.LARGE, Reason.DIRECTION))
"""Reasons of frames whose part cannot be turned to the pose of the training."""

GUARDED = POSELESS | {
    Reason.BLACK,
    Reason.WHITE,
    Reason.UNIFORM,
    Reason.GREY,
    Reason.TORN,
    Reason.BLURRED,
    Reason.EXPOSURE,
    Reason.SIZE,
    Reason.REPEATED,
    Reason.FROZEN,
}
"""Reasons that lie in what the camera sees: any number of such frames never ends a run, and the process is alive."""


class Unscored(Exception):
    """A frame that has no score.

    Attributes:
        reason: reason.
        detail: description, one line.
        error: the error behind it, if it is one for the user.
    """

    def __init__(self, reason: Reason, detail: str, error: UserError | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.error = reason, detail, error


@dataclass(frozen=True)
class Fault:
    """A skipped frame of a stream.

    Attributes:
        index: number of the frame in its source.
        captured_at: time of capture, UTC.
        cause: why it has no score.
        name: file name, or ``None`` for a camera.
    """

    index: int
    captured_at: datetime
    cause: Unscored
    name: str | None = None

    @property
    def reason(self) -> Reason:
        """Reason why it was skipped."""
        return self.cause.reason

    @property
    def detail(self) -> str:
        """Description of the reason, one line."""
        return self.cause.detail


def read_picture(path: Path, white: int | None = None) -> NDArray[np.uint8]:
    """Decode a picture.

    Args:
        path: the file.
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.common.images.read_image`.

    Returns:
        uint8 ``[height, width, 3]``, BGR.

    Raises:
        Unscored: it cannot be read; its ``error`` is an :class:`~edge_occ.common.errors.InputError` for a known cause.
    """
    try:
        return read_image(path, white)
    except UserError as error:
        raise Unscored(Reason.UNREADABLE, error.found, error) from error
    except Exception as error:  # out of memory, or a decoder's own: one picture must not stop the source
        raise Unscored(Reason.UNREADABLE, f"{path}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """Return the message of an error on one line of 300 characters at most."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split())
    return line if len(line) <= _MAX_DETAIL else line[: _MAX_DETAIL - 3] + "..."

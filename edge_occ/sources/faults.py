"""Frames that could not be inspected: why, how many, and from when on it is no accident any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import UserError
from edge_occ.common.images import read_image

_MOST_DETAIL = 300


class Reason(str, Enum):
    """Why a frame was not inspected."""

    UNREADABLE = "unreadable"
    """The source could not decode it, or its file has gone."""
    FRAME = "frame"
    """It is no picture of uint8 ``[height, width, 3]``."""
    ENGINE = "engine"
    """An error was raised while it was scored."""
    SCORE = "score"
    """Its score, or a pixel of its score map, is not finite: it would pass for normal."""
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
    FROZEN = "frozen"
    """It equals the frames of the camera before it, pixel by pixel."""


GUARDED = frozenset((Reason.BLACK, Reason.WHITE, Reason.UNIFORM, Reason.GREY, Reason.TORN, Reason.FROZEN))
"""Reasons of frames that a guard found: any number of them never ends a run, and the process is alive."""


class Unscored(Exception):
    """A frame has no score.

    Attributes:
        reason: why.
        detail: the same in words, one line.
        error: what was raised, if it was meant for the user.
    """

    def __init__(self, reason: Reason, detail: str, error: UserError | None = None) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.error = reason, detail, error


@dataclass(frozen=True)
class Fault:
    """A frame of a stream that was skipped.

    Attributes:
        index: number of the frame in its source.
        captured_at: moment of capture, UTC.
        cause: why it has no score.
        name: file name, or ``None`` for a camera.
    """

    index: int
    captured_at: datetime
    cause: Unscored
    name: str | None = None

    @property
    def reason(self) -> Reason:
        """Why it was skipped."""
        return self.cause.reason

    @property
    def detail(self) -> str:
        """The same in words, one line."""
        return self.cause.detail


def read_picture(path: Path, white: int | None = None) -> NDArray[np.uint8]:
    """Decode a picture.

    Args:
        path: the file.
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.common.images.read_image`.

    Returns:
        uint8 ``[height, width, 3]``, BGR.

    Raises:
        Unscored: it cannot be read; an :class:`~edge_occ.common.errors.InputError` tells why, if that is known.
    """
    try:
        return read_image(path, white)
    except UserError as error:
        raise Unscored(Reason.UNREADABLE, error.found, error) from error
    except Exception as error:  # memory, or a decoder's own: it is this picture's, not the line's
        raise Unscored(Reason.UNREADABLE, f"{path}: {one_line(error)}") from error


def one_line(error: Exception) -> str:
    """What an error says, on one line of 300 characters at most."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split())
    return line if len(line) <= _MOST_DETAIL else line[: _MOST_DETAIL - 3] + "..."

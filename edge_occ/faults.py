"""Frames that could not be inspected: why, how many, and from when on it is no accident any more."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.errors import EngineUnavailable, SourceLost, UserError
from edge_occ.images import read_image
from engines.base import Engine, Scores

MOST_IN_A_ROW = 10
"""So many frames in a row without a score end a run.  Even if every second frame failed by itself, ten in a row would
be one chance in a thousand; and ten frames are soon over, on a line of one part a second too, so that a supervisor can
restart what does not inspect any more."""

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
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.images.read_image`.

    Returns:
        uint8 ``[height, width, 3]``, BGR.

    Raises:
        Unscored: it cannot be read; an :class:`~edge_occ.errors.InputError` tells why, if that is known.
    """
    try:
        return read_image(path, white)
    except UserError as error:
        raise Unscored(Reason.UNREADABLE, error.found, error) from error
    except Exception as error:  # memory, or a decoder's own: it is this picture's, not the line's
        raise Unscored(Reason.UNREADABLE, f"{path}: {one_line(error)}") from error


def score_frame(engine: Engine, image: NDArray[np.uint8]) -> Scores:
    """Score one frame.

    Raises:
        Unscored: the frame is none, the engine raised an error, or what it gave is not finite.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise Unscored(Reason.FRAME, f"{found} in place of uint8 [height, width, 3]")
    if 0 in image.shape:
        raise Unscored(Reason.FRAME, f"a frame without pixels, {list(image.shape)}")
    try:
        scores = engine.infer(image)
    except Exception as error:  # runtimes have their own kinds, and one frame must not end a line
        raise unscored(error) from error
    # The map too: a runtime's maximum may pass over NaN.
    if not (np.isfinite(scores.score) and np.isfinite(scores.map).all()):
        raise Unscored(Reason.SCORE, f"a score of {scores.score} and a map that are not finite")
    return scores


def unscored(error: Exception) -> Unscored:
    """What an error that was raised while a frame was scored says of the frame."""
    return Unscored(Reason.ENGINE, one_line(error), error if isinstance(error, UserError) else None)


def one_line(error: Exception) -> str:
    """What an error says, on one line of 300 characters at most."""
    text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
    line = " ".join(text.split())
    return line if len(line) <= _MOST_DETAIL else line[: _MOST_DETAIL - 3] + "..."


class FaultTally:
    """Counts faults, and ends what inspects nothing any more.

    Attributes:
        counts: faults by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self._in_a_row = 0
        self._last: Unscored | None = None

    def scored(self) -> None:
        """A frame has a score."""
        self._in_a_row = 0

    def add(self, fault: Unscored) -> None:
        """A frame has none.

        Unreadable pictures are counted only: how many of them are too many, their source decides.

        Raises:
            EngineUnavailable: this was the last of :data:`MOST_IN_A_ROW` that the engine could not score; or what the
                engine itself raised, if that was meant for the user.
            SourceLost: the same, and the source gave no frame.
        """
        self.counts[fault.reason] += 1
        if fault.reason is Reason.UNREADABLE:
            return
        self._last = fault
        self._in_a_row += 1
        if self._in_a_row >= MOST_IN_A_ROW:
            raise self._failure(fault, f"none for {self._in_a_row} frames in a row")

    def check(self, frames: int) -> None:
        """At the end: raises as :meth:`add` does if not one of the frames that were readable could be scored."""
        if frames == 0 and self._last is not None:
            raise self._failure(self._last, "none for any frame")

    @staticmethod
    def _failure(fault: Unscored, none: str) -> UserError:
        if fault.error is not None:
            return fault.error
        if fault.reason is Reason.FRAME:
            return SourceLost("frames that can be scored", f"{none}; the last: {fault.detail}", "check the source")
        expected = "a finite score" if fault.reason is Reason.SCORE else "an engine that scores frames"
        return EngineUnavailable(expected, f"{none}; the last: {fault.detail}", "run 'edge-occ verify BUNDLE'")

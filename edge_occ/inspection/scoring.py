"""Scoring one frame, and counting the frames that could not be scored."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import EngineUnavailable, SourceLost, UserError
from edge_occ.sources.faults import GUARDED, Reason, Unscored, one_line
from engines.base import Engine, Scores

MOST_IN_A_ROW = 10
"""So many frames in a row without a score end a run.  Even if every second frame failed by itself, ten in a row would
be one chance in a thousand; and ten frames are soon over, on a line of one part a second too, so that a supervisor can
restart what does not inspect any more."""


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

        Unreadable pictures are counted only: how many of them are too many, their source decides.  So are frames that a
        guard found: a camera may be repaired while the run goes on.

        Raises:
            EngineUnavailable: this was the last of :data:`MOST_IN_A_ROW` that the engine could not score; or what the
                engine itself raised, if that was meant for the user.
            SourceLost: the same, and the source gave no frame.
        """
        self.counts[fault.reason] += 1
        if fault.reason is Reason.UNREADABLE or fault.reason in GUARDED:
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

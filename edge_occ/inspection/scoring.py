"""Scores of one frame, and the count of frames without a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.pose import NoPose
from edge_occ.common.errors import EngineUnavailable, SourceLost, UserError
from edge_occ.sources.faults import GUARDED, Reason, Unscored, one_line
from engines.base import Engine, Scores

MAX_CONSECUTIVE_FAULTS = 10
"""Frames in a row without a score that end a run, so that a supervisor can restart it.  If every second frame failed at
random, ten in a row would be one chance in a thousand; and even a line of one part a second has ten frames soon."""


def score_frame(engine: Engine, image: NDArray[np.uint8]) -> Scores:
    """Score one frame.

    Raises:
        Unscored: the array is not a frame, its part has no pose, the engine raised an error, or a score is not finite.
    """
    with _faults(image):
        scores = engine.infer(image)
    # The map too: the maximum of some runtimes ignores NaN.
    if not (np.isfinite(scores.score) and np.isfinite(scores.map).all()):
        raise Unscored(Reason.SCORE, f"a score of {scores.score} and a map that are not finite")
    return scores


def frame_features(engine: Engine, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Return the features of one frame; see :meth:`engines.base.Engine.features`.

    Raises:
        Unscored: as :func:`score_frame`.
    """
    with _faults(image):
        features = engine.features(image)
    if not all(np.isfinite(of).all() for of in features):
        raise Unscored(Reason.SCORE, "features that are not finite")
    return features


@contextmanager
def _faults(image: NDArray[np.uint8]) -> Iterator[None]:
    """Turn every error that a frame raises in the block into :class:`Unscored`; without the block for no frame."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        found = f"{image.dtype} {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
        raise Unscored(Reason.FRAME, f"{found} in place of uint8 [height, width, 3]")
    if 0 in image.shape:
        raise Unscored(Reason.FRAME, f"a frame without pixels, {list(image.shape)}")
    try:
        yield
    except NoPose as found:
        raise Unscored(Reason(found.outcome.value), found.detail) from found
    except Exception as error:  # each runtime has exceptions of its own, and one frame must not end a run
        raise unscored(error) from error


def unscored(error: Exception) -> Unscored:
    """Return the fault of a frame during whose scoring an error was raised: the error itself, if it is one."""
    if isinstance(error, Unscored):
        return error
    return Unscored(Reason.ENGINE, one_line(error), error if isinstance(error, UserError) else None)


class FaultTally:
    """A count of faults that ends a run without scores.

    Attributes:
        counts: faults by reason.
    """

    def __init__(self) -> None:
        self.counts: Counter[Reason] = Counter()
        self._in_a_row = 0
        self._last: Unscored | None = None

    def scored(self) -> None:
        """Record a frame with a score."""
        self._in_a_row = 0

    def add(self, fault: Unscored) -> None:
        """Record a frame without a score.

        Unreadable pictures are only counted: their source decides how many are too many.  So are frames that a guard
        stopped: a camera may be repaired while the run goes on.

        Raises:
            UserError: this is fault number :data:`MAX_CONSECUTIVE_FAULTS` in a row.  SourceLost if the source gave no
                frame; otherwise the engine's own error, if it is meant for the user, or EngineUnavailable.
        """
        self.counts[fault.reason] += 1
        if fault.reason is Reason.UNREADABLE or fault.reason in GUARDED:
            return
        self._last = fault
        self._in_a_row += 1
        if self._in_a_row >= MAX_CONSECUTIVE_FAULTS:
            raise self._failure(fault, f"none for {self._in_a_row} frames in a row")

    def check(self, frames: int) -> None:
        """Raise at the end of a run as :meth:`add` does, if there were faults and no ``frames`` with a score."""
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

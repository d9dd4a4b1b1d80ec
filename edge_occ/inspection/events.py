"""Events: intervals of anomalous verdicts.

An event starts when ``k`` of the last ``n`` verdicts are anomalous, and ends when none of the last ``n`` scores is
above the release level, so that a score that varies around the threshold does not start one event after another.
Frames for review count as normal.  Where each part passes in several frames, with a pause between the parts, an event
can be held to one part: :meth:`EventTracker.is_new_part`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import Enum
from uuid import uuid4

from edge_occ.bundle.conformal import Verdict


class Phase(str, Enum):
    """The phase of an event."""

    START = "start"
    UPDATE = "update"
    END = "end"


@dataclass(frozen=True)
class EventChange:
    """A change of an event.

    Attributes:
        id: unique for the event, the same from start to end.
        phase: start, update (a new peak) or end.
        peak: highest score so far.
        frames: frames since the start, the first included.
        seconds: from the frame that started the event to the latest one.
    """

    id: str
    phase: Phase
    peak: float
    frames: int
    seconds: float = 0.0


class EventTracker:
    """Events from verdicts: k of n start one, and hysteresis delays its end.

    Args:
        k, n: an event starts when at least ``k`` of the last ``n`` verdicts are anomalous.
        release: an event ends when the last ``n`` scores are all at most ``release`` times the threshold, in
            ``(0, 1]``.
        part_gap: seconds; frames further apart show different parts.  ``None``: an event may go on over several parts.

    Raises:
        ValueError: not ``1 <= k <= n``, or release outside ``(0, 1]``.
    """

    def __init__(self, k: int = 1, n: int = 1, release: float = 1.0, part_gap: float | None = None) -> None:
        if not 1 <= k <= n:
            raise ValueError(f"k-of-n needs 1 <= k <= n, not k={k}, n={n}")
        if not 0 < release <= 1:
            raise ValueError(f"release must be in (0, 1], not {release}")
        self._k, self._n, self._release = k, n, release
        self._part_gap = math.inf if part_gap is None else part_gap
        self._recent: deque[Verdict] = deque(maxlen=n)
        self._id: str | None = None
        self._peak = 0.0
        self._frames = 0
        self._begun = self._latest = 0.0

    def is_new_part(self, captured: float) -> bool:
        """Return whether a frame captured at this time (seconds) shows another part than the one before.

        The caller then calls :meth:`finish` before :meth:`step`, because the end belongs to the frame before.
        """
        return bool(self._recent) and captured - self._latest > self._part_gap

    def step(self, verdict: Verdict, captured: float = 0.0) -> EventChange | None:
        """Take the next verdict and return the change of the event, if any.

        Args:
            verdict: on the frame.
            captured: time of the frame on any clock that does not go back, seconds.
        """
        self._recent.append(verdict)
        self._latest = captured
        if self._id is None:
            if sum(v.anomalous for v in self._recent) < self._k:
                return None
            self._id, self._frames, self._begun = uuid4().hex, 1, captured
            self._peak = max(v.score for v in self._recent)
            return self._change(Phase.START)
        self._frames += 1
        if len(self._recent) == self._n and all(v.score <= v.threshold * self._release for v in self._recent):
            return self.finish()
        if verdict.score <= self._peak:
            return None
        self._peak = verdict.score
        return self._change(Phase.UPDATE)

    def finish(self) -> EventChange | None:
        """Forget the frames so far and end the current event, if any: no more frames, or another part."""
        change = None if self._id is None else self._change(Phase.END)
        self._id = None
        self._recent.clear()
        return change

    def _change(self, phase: Phase) -> EventChange:
        return EventChange(str(self._id), phase, self._peak, self._frames, self._latest - self._begun)

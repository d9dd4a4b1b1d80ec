"""Events: intervals of anomalous verdicts.

An event starts when ``k`` of the last ``n`` verdicts are anomalous, and ends when none of the last ``n`` scores is
above the release level, so that a score that varies around the threshold does not start one event after another.
"""

from __future__ import annotations

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
    """

    id: str
    phase: Phase
    peak: float
    frames: int


class EventTracker:
    """Events from verdicts: k of n start one, and hysteresis delays its end.

    Args:
        k, n: an event starts when at least ``k`` of the last ``n`` verdicts are anomalous.
        release: an event ends when the last ``n`` scores are all at most ``release`` times the threshold, in ``(0,
        1]``.

    Raises:
        ValueError: not ``1 <= k <= n``, or release outside ``(0, 1]``.
    """

    def __init__(self, k: int = 1, n: int = 1, release: float = 1.0) -> None:
        if not 1 <= k <= n:
            raise ValueError(f"k-of-n needs 1 <= k <= n, not k={k}, n={n}")
        if not 0 < release <= 1:
            raise ValueError(f"release must be in (0, 1], not {release}")
        self._k, self._n, self._release = k, n, release
        self._recent: deque[Verdict] = deque(maxlen=n)
        self._id: str | None = None
        self._peak = 0.0
        self._frames = 0

    def step(self, verdict: Verdict) -> EventChange | None:
        """Take the next verdict and return the change of the event, if any."""
        self._recent.append(verdict)
        if self._id is None:
            if sum(v.anomalous for v in self._recent) < self._k:
                return None
            self._id, self._frames = uuid4().hex, 1
            self._peak = max(v.score for v in self._recent)
            return EventChange(self._id, Phase.START, self._peak, self._frames)
        self._frames += 1
        if len(self._recent) == self._n and all(v.score <= v.threshold * self._release for v in self._recent):
            return self.finish()
        if verdict.score <= self._peak:
            return None
        self._peak = verdict.score
        return EventChange(self._id, Phase.UPDATE, self._peak, self._frames)

    def finish(self) -> EventChange | None:
        """End the current event, if any, because the line stopped or there are no more frames."""
        if self._id is None:
            return None
        change = EventChange(self._id, Phase.END, self._peak, self._frames)
        self._id = None
        self._recent.clear()
        return change

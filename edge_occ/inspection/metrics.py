"""Latencies of the stages that a frame passes, counted in histograms of fixed size; pure."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from operator import sub

_STEPS = 18
"""Bounds from one value to its double."""
_DOUBLINGS = 23
BOUNDS_MS = tuple(0.01 * 2 ** (step / _STEPS) for step in range(_DOUBLINGS * _STEPS + 1))
"""Upper bounds of the bins in milliseconds, from 10 microseconds to 84 seconds; one more bin is above the last."""
RELATIVE_ERROR = 2 ** (0.5 / _STEPS) - 1
"""Largest relative error of a quantile between the first and the last bound: 1.95 %."""

_TURN = 5000
"""Values after which the earlier ones but so many are left out of the quantiles."""


class Stage(str, Enum):
    """A part of a frame's way; the value begins the keys of its quantiles."""

    CAPTURE = "capture"
    """From the capture until the frame is read and decoded: 0 for a camera, whose frames are captured when they are."""
    WAIT = "wait"
    """Until the inspection begins: waiting for the turn."""
    PREPROCESS = "preprocess"
    """Region of interest and guards, of frames that pass them."""
    ENGINE = "engine"
    """Turning or tiling the frame, and its scores."""
    DECIDE = "decide"
    """Verdict, boxes and event.  Frames of a file that are scored at the same time wait for their turn before it."""
    ENCODE = "encode"
    """Drawing a heatmap and its JPEG; not on the way of a score, but in the threads that send and keep pictures."""
    PUBLISH = "publish"
    """From the verdict to the hand-over of the score to the MQTT client."""
    TOTAL = "latency"
    """From the capture to the hand-over of the score."""


@dataclass(frozen=True)
class Distribution:
    """Contents of a histogram at one moment.

    Attributes:
        counts: values since the start, by bin of :data:`BOUNDS_MS`.
        recent: the latest of them, 5,000 to 10,000 where there have been so many.
        sum_ms: sum of all values since the start, milliseconds.
    """

    counts: Sequence[int]
    recent: Sequence[int]
    sum_ms: float

    def quantile(self, q: float) -> float | None:
        """Return a quantile of the latest values in milliseconds, ``None`` without any.

        It is the value of rank ``ceil(q n)`` within :data:`RELATIVE_ERROR`.  Values outside the bounds count as the
        nearest bound.

        Args:
            q: above 0, 1 at most.
        """
        total = sum(self.recent)
        if total == 0:
            return None
        place = bisect_left(list(accumulate(self.recent)), math.ceil(q * total))
        if place in (0, len(BOUNDS_MS)):
            return BOUNDS_MS[min(place, len(BOUNDS_MS) - 1)]
        return math.sqrt(BOUNDS_MS[place - 1] * BOUNDS_MS[place])

    def doublings(self) -> list[tuple[float, int]]:
        """Return every bound that is twice the one before, in milliseconds, with the values up to it since the start.

        The last one is infinity with all values.
        """
        up_to = list(accumulate(self.counts))
        coarse = range(0, len(BOUNDS_MS), _STEPS)
        return [*((BOUNDS_MS[place], up_to[place]) for place in coarse), (math.inf, up_to[-1])]


class Histogram:
    """Counts of values in bins with fixed logarithmic bounds; ten kilobytes, however many values there are.

    One thread at a time records; any thread may read.
    """

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * (len(BOUNDS_MS) + 1)))
        self._sum = 0.0
        # Counts at the last turn and at the one before it: what came since the latter is recent.
        self._at_turn = self._before = self._counts[:]
        self._left = _TURN

    def record(self, milliseconds: float) -> None:
        """Count a value; one below 0, or not a number, counts as 0."""
        self._counts[bisect_left(BOUNDS_MS, milliseconds)] += 1
        self._sum += max(0.0, milliseconds)
        self._left -= 1
        if self._left == 0:
            self._left = _TURN
            self._before, self._at_turn = self._at_turn, self._counts[:]

    def read(self) -> Distribution:
        """Return what it holds now."""
        before = self._before  # first: a turn in between must not leave fewer counts than before
        counts = self._counts[:]
        return Distribution(counts, tuple(map(sub, counts, before)), self._sum)


class Latencies:
    """The histograms of one camera's stages.

    Each stage is recorded by one thread at a time, different ones by different threads.
    """

    def __init__(self) -> None:
        self._histograms = {stage: Histogram() for stage in Stage}

    def record(self, stage: Stage, seconds: float) -> None:
        """Count the duration of a stage."""
        self._histograms[stage].record(seconds * 1e3)

    def read(self) -> Mapping[Stage, Distribution]:
        """Return what the histograms hold now."""
        return {stage: histogram.read() for stage, histogram in self._histograms.items()}


class Laps:
    """Durations of stages that follow each other, of one frame; taken by any thread, recorded by one.

    Args:
        begun: time at which the first stage begins, seconds of any monotonic clock.
    """

    def __init__(self, begun: float) -> None:
        self._begun, self._durations = begun, list[tuple[Stage, float]]()

    def end(self, stage: Stage, now: float) -> None:
        """Take the duration of a stage, from the end of the one before until ``now``."""
        self._durations.append((stage, now - self._begun))
        self._begun = now

    def resume(self, now: float) -> None:
        """Begin the next stage ``now``: what has passed since the last one belongs to none."""
        self._begun = now

    def record(self, latencies: Latencies) -> None:
        """Count all durations."""
        for stage, seconds in self._durations:
            latencies.record(stage, seconds)

"""What is news and nothing else: scores and one heatmap that wait to be published.  Knows no broker and no clock.

A full queue of scores drops the oldest.  Of heatmaps there is one slot for the latest; an anomalous frame in it yields
only to another one.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

import numpy as np

from edge_occ.inspection.events import Phase
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.topics import HEATMAP, SCORE

_URGENT_SECONDS = 0.1
"""Least time between heatmaps of anomalous frames."""


class SendQueue:
    """Scores and a heatmap; every method returns at once and may be called from any thread.

    Args:
        ledger: counts what is dropped.
        score_hz: most scores of normal frames a second, by their capture; 0 keeps all.
        heatmap_hz: most heatmaps of normal frames a second; 0 takes no heatmaps.
        most_scores: bound of the queue: enough for a moment in which the sender is busy, too few to show the past.
    """

    def __init__(self, ledger: DeliveryStats, score_hz: float, heatmap_hz: float, most_scores: int = 32) -> None:
        self._ledger = ledger
        self._score_period = 1 / score_hz if score_hz else 0.0
        self._heatmap_period = 1 / heatmap_hz if heatmap_hz else None
        self._most_scores = most_scores
        self._lock = threading.Lock()
        self._scores: deque[Inspection] = deque()
        self._heatmap: Inspection | None = None
        self._score_due = self._heatmap_sent = self._heatmap_rest = float("-inf")

    def put(self, inspection: Inspection) -> None:
        """Take one inspection."""
        light = _without_pixels(inspection)
        with self._lock:
            self._put_score(light)
            self._put_heatmap(inspection)

    def next_scores(self, most: int) -> list[Inspection]:
        """Take the oldest scores, at most so many."""
        with self._lock:
            return [self._scores.popleft() for _ in range(min(most, len(self._scores)))]

    def next_heatmap(self, now: float, *, hurry: bool = False) -> Inspection | None:
        """Take the heatmap if it is due at ``now`` (any monotonic clock, seconds), or at once in a ``hurry``."""
        with self._lock:
            wait = self._heatmap_wait(now)
            if wait is None or (wait > 0 and not hurry):
                return None
            inspection, self._heatmap = self._heatmap, None
            self._heatmap_sent = now
            return inspection

    def rest(self, until: float) -> None:
        """Let no heatmap be due before ``until``."""
        with self._lock:
            self._heatmap_rest = until

    def heatmap_wait(self, now: float) -> float | None:
        """Seconds until the waiting heatmap is due, ``None`` where none waits."""
        with self._lock:
            return self._heatmap_wait(now)

    def drop(self) -> None:
        """Drop everything: it is worthless later."""
        with self._lock:
            if self._scores:
                self._ledger.dropped(SCORE, len(self._scores))
                self._scores.clear()
            if self._heatmap is not None:
                self._ledger.dropped(HEATMAP)
                self._heatmap = None

    @property
    def depths(self) -> dict[str, int]:
        """Messages that wait, by kind."""
        with self._lock:
            return {SCORE: len(self._scores), HEATMAP: int(self._heatmap is not None)}

    def age(self, now: float) -> float:
        """Seconds since the capture of the oldest score that waits; 0 without any."""
        with self._lock:
            return max(now - self._scores[0].frame.captured_monotonic, 0.0) if self._scores else 0.0

    def _put_score(self, light: Inspection) -> None:
        captured = light.frame.captured_monotonic
        if self._score_period:
            if captured < self._score_due and not light.verdict.anomalous:
                self._ledger.thinned()
                return
            # A grid of due times, not the time of the last score: a camera's jitter must not halve the rate.
            self._score_due = max(self._score_due, captured - self._score_period) + self._score_period
        if len(self._scores) == self._most_scores:
            self._scores.popleft()
            self._ledger.dropped(SCORE)
        self._scores.append(light)

    def _put_heatmap(self, inspection: Inspection) -> None:
        if self._heatmap_period is None:
            return
        if self._heatmap is not None:
            self._ledger.superseded()
            if _urgent(self._heatmap) and not _urgent(inspection):
                return
        self._heatmap = inspection

    def _heatmap_wait(self, now: float) -> float | None:
        if self._heatmap is None or self._heatmap_period is None:
            return None
        period = min(_URGENT_SECONDS, self._heatmap_period) if _urgent(self._heatmap) else self._heatmap_period
        return max(self._heatmap_sent + period - now, self._heatmap_rest - now, 0.0)


def _urgent(inspection: Inspection) -> bool:
    starts = inspection.event is not None and inspection.event.phase is Phase.START
    return inspection.verdict.anomalous or starts


def _without_pixels(inspection: Inspection) -> Inspection:
    """The same inspection for a queue: frames are megabytes each."""
    frame = replace(inspection.frame, image=np.empty((0, 0, 3), np.uint8))
    return replace(inspection, frame=frame, scores=replace(inspection.scores, map=np.empty((0, 0), np.float32)))

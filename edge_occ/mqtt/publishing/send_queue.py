"""The send queue of live messages: scores and one heatmap, which are worthless later; no broker and no clock.

A full queue of scores drops the oldest.  There is one slot for the latest heatmap; only another heatmap of an anomalous
frame replaces one of an anomalous frame.  Frames for review count as normal to heatmaps, and not to scores.
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

_MIN_URGENT_SECONDS = 0.1
"""Shortest time between heatmaps of anomalous frames."""


class SendQueue:
    """Scores and a heatmap; every method returns at once and may be called from any thread.

    Args:
        stats: counts what is dropped.
        score_hz: scores of normal frames a second at most, by their capture; 0 keeps all.
        heatmap_hz: heatmaps of normal frames a second at most; 0 accepts no heatmaps.
        max_scores: bound of the queue: enough while the sender is busy, too few to show the past.
    """

    def __init__(self, stats: DeliveryStats, score_hz: float, heatmap_hz: float, max_scores: int = 32) -> None:
        self._stats = stats
        self._score_period = 1 / score_hz if score_hz else 0.0
        self._heatmap_period = 1 / heatmap_hz if heatmap_hz else None
        self._max_scores = max_scores
        self._lock = threading.Lock()
        self._scores: deque[Inspection] = deque()
        self._heatmap: Inspection | None = None
        self._score_due = self._heatmap_sent = self._heatmaps_paused_until = float("-inf")

    def put(self, inspection: Inspection) -> None:
        """Append one inspection."""
        light = _without_pixels(inspection)
        with self._lock:
            self._put_score(light)
            self._put_heatmap(inspection)

    def next_scores(self, count: int) -> list[Inspection]:
        """Take the oldest scores, ``count`` at most."""
        with self._lock:
            return [self._scores.popleft() for _ in range(min(count, len(self._scores)))]

    def next_heatmap(self, now: float, *, hurry: bool = False) -> Inspection | None:
        """Take the heatmap if it is due at ``now`` (any monotonic clock, seconds), or at once in a ``hurry``."""
        with self._lock:
            wait = self._heatmap_wait(now)
            if wait is None or (wait > 0 and not hurry):
                return None
            inspection, self._heatmap = self._heatmap, None
            self._heatmap_sent = now
            return inspection

    def pause_heatmaps(self, until: float) -> None:
        """Let no heatmap be due before ``until``, nor before the end of an earlier pause."""
        with self._lock:
            self._heatmaps_paused_until = max(self._heatmaps_paused_until, until)

    def heatmap_wait(self, now: float) -> float | None:
        """Return the seconds until the waiting heatmap is due, ``None`` without one."""
        with self._lock:
            return self._heatmap_wait(now)

    def drop_all(self) -> None:
        """Drop and count everything."""
        with self._lock:
            if self._scores:
                self._stats.dropped(SCORE, len(self._scores))
                self._scores.clear()
            if self._heatmap is not None:
                self._stats.dropped(HEATMAP)
                self._heatmap = None

    @property
    def depths(self) -> dict[str, int]:
        """Messages waiting, by kind."""
        with self._lock:
            return {SCORE: len(self._scores), HEATMAP: int(self._heatmap is not None)}

    def age(self, now: float) -> float:
        """Return the seconds since the capture of the oldest score waiting; 0 without any."""
        with self._lock:
            return max(now - self._scores[0].frame.captured_monotonic, 0.0) if self._scores else 0.0

    def _put_score(self, light: Inspection) -> None:
        captured = light.frame.captured_monotonic
        if self._score_period:
            if captured < self._score_due and light.verdict.name == "normal":
                self._stats.thinned()
                return
            # A grid of due times, not the time of the last score: a camera's jitter must not halve the rate.
            self._score_due = max(self._score_due, captured - self._score_period) + self._score_period
        if len(self._scores) == self._max_scores:
            self._scores.popleft()
            self._stats.dropped(SCORE)
        self._scores.append(light)

    def _put_heatmap(self, inspection: Inspection) -> None:
        if self._heatmap_period is None:
            return
        if self._heatmap is not None:
            self._stats.superseded()
            if _urgent(self._heatmap) and not _urgent(inspection):
                return
        self._heatmap = inspection

    def _heatmap_wait(self, now: float) -> float | None:
        if self._heatmap is None or self._heatmap_period is None:
            return None
        period = min(_MIN_URGENT_SECONDS, self._heatmap_period) if _urgent(self._heatmap) else self._heatmap_period
        return max(self._heatmap_sent + period - now, self._heatmaps_paused_until - now, 0.0)


def _urgent(inspection: Inspection) -> bool:
    starts = inspection.event is not None and inspection.event.phase is Phase.START
    return inspection.verdict.anomalous or starts


def _without_pixels(inspection: Inspection) -> Inspection:
    """Return the inspection without its images, which are megabytes each."""
    frame = replace(inspection.frame, image=np.empty((0, 0, 3), np.uint8))
    return replace(inspection, frame=frame, scores=replace(inspection.scores, map=np.empty((0, 0), np.float32)))

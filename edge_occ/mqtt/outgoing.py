"""What waits to be published, within bounds: scores, events and one heatmap.  Knows no broker and no clock.

A full queue of scores drops the oldest.  A full queue of events drops its oldest update, since a start and an end say
more; only without one, its oldest event.  Of heatmaps there is one slot for the latest; an anomalous frame in it yields
only to another one.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_occ.decision import Phase
from edge_occ.inspection import Inspection
from edge_occ.mqtt.ledger import Ledger
from edge_occ.mqtt.topics import EVENT, HEATMAP, SCORE

_log = logging.getLogger(__name__)

_URGENT_SECONDS = 0.1
"""Least time between heatmaps of anomalous frames."""


@dataclass(frozen=True)
class QueuedEvent:
    """An event that waits.

    Attributes:
        inspection: the frame that brought it, without its pixels.
        offline: raised while there was no connection.
    """

    inspection: Inspection
    offline: bool


class Outgoing:
    """The queues between the frames and the sender; every method returns at once and may be called from any thread.

    Args:
        ledger: counts what is dropped.
        score_hz: most scores of normal frames a second, by their capture; 0 keeps all.
        heatmap_hz: most heatmaps of normal frames a second; 0 takes no heatmaps.
        most_scores, most_events: bounds of the queues.
    """

    def __init__(
        self, ledger: Ledger, score_hz: float, heatmap_hz: float, most_scores: int = 256, most_events: int = 1000
    ) -> None:
        self._ledger = ledger
        self._score_period = 1 / score_hz if score_hz else 0.0
        self._heatmap_period = 1 / heatmap_hz if heatmap_hz else None
        self._most_scores, self._most_events = most_scores, most_events
        self._lock = threading.Lock()
        self._scores: deque[Inspection] = deque()
        self._events: deque[QueuedEvent] = deque()
        self._heatmap: Inspection | None = None
        self._score_due = self._heatmap_sent = float("-inf")

    def put(self, inspection: Inspection, *, online: bool) -> None:
        """Take one inspection; ``online`` says whether there is a connection."""
        light = _without_pixels(inspection)
        with self._lock:
            self._put_score(light)
            self._put_event(light, online=online)
            self._put_heatmap(inspection)

    def put_event(self, inspection: Inspection, *, online: bool) -> None:
        """Take the event of an inspection alone."""
        with self._lock:
            self._put_event(_without_pixels(inspection), online=online)

    def next_score(self) -> Inspection | None:
        """Take the oldest score."""
        with self._lock:
            return self._scores.popleft() if self._scores else None

    def next_event(self) -> QueuedEvent | None:
        """Take the oldest event."""
        with self._lock:
            return self._events.popleft() if self._events else None

    def return_events(self, events: Sequence[QueuedEvent]) -> None:
        """Put events back in front, in their order."""
        with self._lock:
            self._events.extendleft(reversed(events))
            self._trim_events()

    def next_heatmap(self, now: float, *, hurry: bool = False) -> Inspection | None:
        """Take the heatmap if it is due at ``now`` (any monotonic clock, seconds), or at once in a ``hurry``."""
        with self._lock:
            wait = self._heatmap_wait(now)
            if wait is None or (wait > 0 and not hurry):
                return None
            inspection, self._heatmap = self._heatmap, None
            self._heatmap_sent = now
            return inspection

    def heatmap_wait(self, now: float) -> float | None:
        """Seconds until the waiting heatmap is due, ``None`` where none waits."""
        with self._lock:
            return self._heatmap_wait(now)

    def drop_live(self) -> None:
        """Drop what is worthless later: scores and the heatmap."""
        with self._lock:
            if self._scores:
                self._ledger.dropped(SCORE, len(self._scores))
                self._scores.clear()
            if self._heatmap is not None:
                self._ledger.dropped(HEATMAP)
                self._heatmap = None

    def drop_events(self) -> int:
        """Drop all events, at the very end; gives their number."""
        with self._lock:
            count = len(self._events)
            if count:
                self._ledger.dropped(EVENT, count)
                self._events.clear()
            return count

    @property
    def depths(self) -> dict[str, int]:
        """Messages that wait, by kind."""
        with self._lock:
            return {SCORE: len(self._scores), EVENT: len(self._events), HEATMAP: int(self._heatmap is not None)}

    def _put_event(self, light: Inspection, *, online: bool) -> None:
        if light.event is not None:
            self._events.append(QueuedEvent(light, offline=not online))
            self._trim_events()

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

    def _trim_events(self) -> None:
        while len(self._events) > self._most_events:
            updates = (n for n, event in enumerate(self._events) if _phase(event) is Phase.UPDATE)
            place = next(updates, 0)
            lost = self._events[place]
            del self._events[place]
            self._ledger.dropped(EVENT)
            _log.warning("event queue full, dropped the %s of %s", _phase(lost), lost.inspection.event)

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
        return max(self._heatmap_sent + period - now, 0.0)


def _urgent(inspection: Inspection) -> bool:
    starts = inspection.event is not None and inspection.event.phase is Phase.START
    return inspection.verdict.anomalous or starts


def _phase(event: QueuedEvent) -> Phase | None:
    return None if event.inspection.event is None else event.inspection.event.phase


def _without_pixels(inspection: Inspection) -> Inspection:
    """The same inspection for a queue: a thousand frames would not fit into a device's memory."""
    frame = replace(inspection.frame, image=np.empty((0, 0, 3), np.uint8))
    return replace(inspection, frame=frame, scores=replace(inspection.scores, map=np.empty((0, 0), np.float32)))

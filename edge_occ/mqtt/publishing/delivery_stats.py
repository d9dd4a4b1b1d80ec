"""Delivery stats: counts of messages by their result, from all threads that publish."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DeliveryCounts:
    """Counts since the start.

    Attributes:
        frames: inspections published.
        faults: frames that were not inspected, by reason.
        published: messages by kind that the broker has confirmed.
        dropped: messages by kind that were lost because the broker was slow or out of reach, or that were not confirmed
            when a connection ended.
        refused: messages by kind that the broker refused.
        failed: messages by kind that could not be made; an error of this program or its renderer.
        thinned: scores left out by ``score_hz``.
        superseded: heatmaps replaced by a later one before they were sent.
    """

    frames: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    thinned: int = 0
    superseded: int = 0


class DeliveryStats:
    """Counts from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._published: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._frames = self._thinned = self._superseded = 0

    def frame(self) -> None:
        """Count an inspection."""
        with self._lock:
            self._frames += 1

    def fault(self, reason: str) -> None:
        """Count a frame that was not inspected."""
        with self._lock:
            self._faults[reason] += 1

    def thinned(self) -> None:
        """Count a score left out to keep the rate."""
        with self._lock:
            self._thinned += 1

    def superseded(self) -> None:
        """Count a heatmap replaced by a later one."""
        with self._lock:
            self._superseded += 1

    def published(self, kind: str) -> None:
        """Count a message that the broker has."""
        with self._lock:
            self._published[kind] += 1

    def dropped(self, kind: str, count: int = 1) -> None:
        """Count lost messages."""
        if count:
            with self._lock:
                self._dropped[kind] += count

    def refused(self, kind: str) -> None:
        """Count a message that the broker refused."""
        with self._lock:
            self._refused[kind] += 1

    def failed(self, kind: str) -> int:
        """Count a message that could not be made; return the count of its kind."""
        with self._lock:
            self._failed[kind] += 1
            return self._failed[kind]

    def counts(self) -> DeliveryCounts:
        """Return the counts now."""
        with self._lock:
            return DeliveryCounts(
                frames=self._frames,
                faults=dict(self._faults),
                published=dict(self._published),
                dropped=dict(self._dropped),
                refused=dict(self._refused),
                failed=dict(self._failed),
                thinned=self._thinned,
                superseded=self._superseded,
            )

"""What became of every message: counts and latencies, shared by the threads that publish."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

_RESERVOIR = 10_000
"""Latencies kept for quantiles, the latest."""


@dataclass(frozen=True)
class DeliveryCounts:
    """Counts since the start.

    Attributes:
        frames: inspections taken.
        faults: frames that were not inspected, by reason.
        published: messages by kind that the broker has taken.
        dropped: messages by kind that were lost because the broker was slow or out of reach, or that are not known to
            have arrived when a connection ended.
        refused: messages by kind that the broker has answered not to take.
        failed: messages by kind that could not be made; a fault of this program or its renderer.
        thinned: scores left out by ``score_hz``.
        superseded: heatmaps that gave way to a later one before their turn.
        latency_p50_ms, latency_p95_ms: quantiles of the latest latencies, ``None`` before the first score.
    """

    frames: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    published: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    thinned: int = 0
    superseded: int = 0
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None


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
        self._latencies: deque[float] = deque(maxlen=_RESERVOIR)

    def taken(self) -> None:
        """One inspection was taken."""
        with self._lock:
            self._frames += 1

    def fault(self, reason: str) -> None:
        """One frame was not inspected."""
        with self._lock:
            self._faults[reason] += 1

    def thinned(self) -> None:
        """One score was left out to keep the rate."""
        with self._lock:
            self._thinned += 1

    def superseded(self) -> None:
        """One heatmap gave way to another."""
        with self._lock:
            self._superseded += 1

    def published(self, kind: str) -> None:
        """The broker has one message."""
        with self._lock:
            self._published[kind] += 1

    def dropped(self, kind: str, count: int = 1) -> None:
        """Messages were lost."""
        if count:
            with self._lock:
                self._dropped[kind] += count

    def refused(self, kind: str) -> None:
        """The broker does not take one message."""
        with self._lock:
            self._refused[kind] += 1

    def failed(self, kind: str) -> int:
        """One message could not be made; gives how many of the kind now."""
        with self._lock:
            self._failed[kind] += 1
            return self._failed[kind]

    def latency(self, milliseconds: float) -> None:
        """One score was handed over so long after its capture."""
        with self._lock:
            self._latencies.append(milliseconds)

    def summary(self) -> DeliveryCounts:
        """The counts now."""
        with self._lock:
            latencies = sorted(self._latencies)
            return DeliveryCounts(
                frames=self._frames,
                faults=dict(self._faults),
                published=dict(self._published),
                dropped=dict(self._dropped),
                refused=dict(self._refused),
                failed=dict(self._failed),
                thinned=self._thinned,
                superseded=self._superseded,
                latency_p50_ms=_quantile(latencies, 0.50),
                latency_p95_ms=_quantile(latencies, 0.95),
            )


def _quantile(ordered: Sequence[float], q: float) -> float | None:
    """Nearest rank of ascending values, ``None`` without any."""
    return round(ordered[min(int(q * len(ordered)), len(ordered) - 1)], 3) if ordered else None

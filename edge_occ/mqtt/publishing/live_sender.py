"""Sender of live messages: scores, the latest heatmap, stats; in batches that the broker confirms.

Live messages must not pile up in paho or in the buffers of a slow link, or events would wait behind them.  So only few
are in flight at a time, each batch followed by a fence (see :mod:`edge_occ.mqtt.client.connection`), and only messages
that the broker has confirmed count as published.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge_occ.inspection.metrics import Latencies, Stage
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.connection_log import CLOSED
from edge_occ.mqtt.client.limits import HeatmapLimit
from edge_occ.mqtt.client.receipts import DeliveryOutcome, Receipt
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.messages import heatmap_info, score_message
from edge_occ.mqtt.profiles import platform_messages
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.publishing.send_queue import SendQueue
from edge_occ.mqtt.stats_payload import Stats
from edge_occ.mqtt.topics import HEATMAP, SCORE, STATS

_log = logging.getLogger(__name__)

_Made = TypeVar("_Made")

MAX_SCORES = 16
"""Scores in flight at most; a heatmap and stats come on top."""


@dataclass(frozen=True)
class _Batch:
    """Messages in flight.

    Attributes:
        kinds: one a message.
        receipt: of their fence.
        sent: time of hand-over, monotonic seconds.
        heatmap: bytes of the heatmap among them, or 0.
    """

    kinds: tuple[str, ...]
    receipt: Receipt
    sent: float
    heatmap: int


class LiveSender:
    """Empties the send queue into the connection; for one thread.

    Args:
        connection: the connection.
        queue: scores and heatmap.
        counts: counts what was sent and what was lost.
        config: topics, profile and rates.
        render: makes the JPEG of a heatmap.
        stats: makes the stats message.
        latencies: where the times of scores are recorded.
    """

    def __init__(
        self,
        connection: Connection,
        queue: SendQueue,
        counts: DeliveryStats,
        config: MqttConfig,
        render: Callable[[Inspection], bytes],
        stats: Callable[[], Stats],
        latencies: Latencies,
    ) -> None:
        self._connection, self._queue, self._counts = connection, queue, counts
        self._topics, self._profile, self._stats_seconds = config.topics, config.profile, config.stats_seconds
        self._render, self._stats, self._latencies = render, stats, latencies
        self._picture_seconds = 1e-3 / config.picture_kb_s if config.picture_kb_s else 0.0  # for each byte
        self._batches: deque[_Batch] = deque()
        self._heatmap_limit = HeatmapLimit()
        self._stats_due = time.monotonic()

    def in_flight(self, kind: str | None = None) -> int:
        """Return the number of messages, of one kind or of all, that the broker has not confirmed; from any thread."""
        return sum(kind in (None, sent) for batch in tuple(self._batches) for sent in batch.kinds)

    def wait(self, now: float) -> float | None:
        """Return the seconds until something is due at ``now``; ``None`` while an answer of the broker is pending."""
        waits = []
        if not self.in_flight(STATS):
            waits.append(self._stats_due - now)
        if not self.in_flight(HEATMAP) and (heatmap := self._queue.heatmap_wait(now)) is not None:
            waits.append(heatmap)
        return max(min(waits), 0.0) if waits else None

    def settle(self, session: int) -> None:
        """Count the batches that were confirmed or lost."""
        while self._batches and (outcome := self._batches[0].receipt.outcome(session)) is not None:
            batch = self._batches.popleft()
            for kind in batch.kinds:
                self._count(kind, arrived=outcome is DeliveryOutcome.TAKEN)
            if batch.heatmap:
                self._adapt(batch, outcome)

    def send(self, session: int, *, hurry: bool) -> None:
        """Hand over what is due and fits in flight; in a ``hurry`` the heatmap at once."""
        waiting = self._queue.next_scores(MAX_SCORES - self.in_flight(SCORE))
        kinds = [SCORE for inspection in waiting if self._send_score(session, inspection)]
        heatmap = 0
        if (
            not self.in_flight(HEATMAP)
            and (inspection := self._queue.next_heatmap(time.monotonic(), hurry=hurry)) is not None
        ):
            heatmap = self._send_heatmap(session, inspection)
            kinds += [HEATMAP] * (heatmap > 0)
        if not self.in_flight(STATS) and time.monotonic() >= self._stats_due and self._send_stats(session):
            kinds.append(STATS)
        self._fence(session, kinds, heatmap)

    def send_stats(self, session: int) -> None:
        """Hand over the last stats."""
        if self._send_stats(session):
            self._fence(session, [STATS], 0)

    def has_waiting(self) -> bool:
        """Return whether messages wait in the queue."""
        return any(self._queue.depths.values())

    def drop_waiting(self) -> None:
        """Drop the queue: there is no connection."""
        self._queue.drop_all()

    def drop_all(self) -> None:
        """Count what is in flight and what waits as dropped."""
        for batch in self._batches:
            for kind in batch.kinds:
                self._counts.dropped(kind)
        self._batches.clear()
        self._queue.drop_all()

    def _fence(self, session: int, kinds: list[str], heatmap: int) -> None:
        if not kinds:
            return
        receipt = self._connection.fence(session)
        if receipt is None:
            for kind in kinds:
                self._counts.dropped(kind)
            self._connection_ended_during(heatmap)
        else:
            self._batches.append(_Batch(tuple(kinds), receipt, time.monotonic(), heatmap))

    def _send_score(self, session: int, inspection: Inspection) -> bool:
        latency = (time.monotonic() - inspection.frame.captured_monotonic) * 1000
        payload = self._make(SCORE, lambda: score_message(inspection, latency, self._topics.origin).to_json())
        if payload is None:
            return False
        if not self._publish(session, SCORE, payload):
            return False
        total = time.monotonic() - inspection.frame.captured_monotonic
        self._latencies.record(Stage.TOTAL, total)
        self._latencies.record(Stage.PUBLISH, total - inspection.verdict_ms / 1e3)
        return True

    def _send_heatmap(self, session: int, inspection: Inspection) -> int:
        """Return the bytes that were handed over."""
        info = self._make(HEATMAP, lambda: heatmap_info(inspection, self._topics.origin))
        if info is None:
            return 0
        jpeg = self._make(HEATMAP, lambda: insert_comment(self._render(inspection), info.to_json()))
        if jpeg is None:
            return 0
        properties = info.to_user_properties()
        if not self._publish(session, HEATMAP, jpeg, retain=True, user_properties=properties):
            return 0
        self._queue.pause_heatmaps(time.monotonic() + len(jpeg) * self._picture_seconds)
        return len(jpeg)

    def _send_stats(self, session: int) -> bool:
        self._stats_due = time.monotonic() + self._stats_seconds
        payload = self._make(STATS, lambda: self._stats().to_json())
        return payload is not None and self._publish(session, STATS, payload, retain=True)

    def _publish(
        self,
        session: int,
        kind: str,
        payload: bytes,
        *,
        retain: bool = False,
        user_properties: dict[str, str] | None = None,
    ) -> bool:
        """Hand one message over, or count it as dropped."""
        topic = self._topics.of(kind)
        limit = self._connection.max_payload(topic)
        if kind == HEATMAP:
            limit = min(limit, self._heatmap_limit.max_bytes)
        sent = False
        if len(payload) > limit:
            self._connection.log.too_large(topic, len(payload), limit)
        else:
            sent = all(
                self._connection.publish(session, to, content, retain=retain, user_properties=user_properties)
                for to, content in platform_messages(self._profile, self._topics, kind, payload)
            )
        if not sent:
            self._counts.dropped(kind)
        return sent

    def _count(self, kind: str, *, arrived: bool) -> None:
        if arrived:
            self._counts.published(kind)
        else:
            self._counts.dropped(kind)

    def _adapt(self, batch: _Batch, outcome: DeliveryOutcome) -> None:
        """Leave a slow link free for as long as the heatmap took; limit heatmaps that end the connection."""
        if outcome is DeliveryOutcome.TAKEN:
            self._heatmap_limit.succeeded()
            self._queue.pause_heatmaps(2 * time.monotonic() - batch.sent)
        else:
            self._connection_ended_during(batch.heatmap)

    def _connection_ended_during(self, heatmap: int) -> None:
        closed = self._connection.last_end in (CLOSED, "Packet too large")
        if heatmap and closed and self._heatmap_limit.failed(heatmap):
            self._connection.log.heatmap_limit(self._heatmap_limit.max_bytes)

    def _make(self, kind: str, make: Callable[[], _Made]) -> _Made | None:
        """Make a message; an error, of the renderer for instance, is logged and counted and does not end the sender."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - one bad frame must not end the sender
            first = self._counts.failed(kind) == 1
            _log.log(logging.ERROR if first else logging.DEBUG, "a %s could not be made", kind, exc_info=error)
            return None

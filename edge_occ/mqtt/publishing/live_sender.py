"""Sends what is news: scores, the latest heatmap, statistics; in batches that the broker answers.

Nothing of it may pile up on the way, neither in paho nor in the buffers of a slow link, or events would wait behind it.
So only a few messages are ever on their way, each batch of them with a fence behind it (see
:mod:`edge_occ.mqtt.client.connection`), and what the broker has not answered is not called published.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.connection_log import CLOSED
from edge_occ.mqtt.client.limits import HeatmapLimit
from edge_occ.mqtt.client.receipts import DeliveryOutcome, Receipt
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.messages import Stats, heatmap_info, score_message
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.publishing.send_queue import SendQueue
from edge_occ.mqtt.topics import HEATMAP, SCORE, STATS

_log = logging.getLogger(__name__)

_Made = TypeVar("_Made")

MAX_SCORES = 16
"""Scores on their way at most; a heatmap and statistics come on top."""


@dataclass(frozen=True)
class _Batch:
    """Messages on their way.

    Attributes:
        kinds: one a message.
        receipt: tells of their arrival.
        sent: when they were handed over, monotonic seconds.
        picture: bytes of the heatmap among them, or 0.
    """

    kinds: tuple[str, ...]
    receipt: Receipt
    sent: float
    picture: int


class LiveSender:
    """Empties the live queue into the connection; for one thread.

    Args:
        connection: where to.
        queue: scores and heatmap.
        ledger: counts what was sent and what was lost.
        config: topics and rates.
        render: makes the JPEG of a heatmap.
        stats: makes the statistics.
    """

    def __init__(
        self,
        connection: Connection,
        queue: SendQueue,
        ledger: DeliveryStats,
        config: MqttConfig,
        render: Callable[[Inspection], bytes],
        stats: Callable[[], Stats],
    ) -> None:
        self._connection, self._queue, self._ledger = connection, queue, ledger
        self._topics, self._stats_seconds = config.topics, config.stats_seconds
        self._render, self._stats = render, stats
        self._batches: deque[_Batch] = deque()
        self._pictures = HeatmapLimit()
        self._stats_due = time.monotonic()

    def on_the_way(self, kind: str | None = None) -> int:
        """Messages, of one kind or of all, that the broker has not answered."""
        return sum(kind in (None, sent) for batch in self._batches for sent in batch.kinds)

    def wait(self, now: float) -> float | None:
        """Seconds until something is due at a given ``now``; ``None`` if it waits for an answer of the broker."""
        waits = []
        if not self.on_the_way(STATS):
            waits.append(self._stats_due - now)
        if not self.on_the_way(HEATMAP) and (heatmap := self._queue.heatmap_wait(now)) is not None:
            waits.append(heatmap)
        return max(min(waits), 0.0) if waits else None

    def settle(self, session: int) -> None:
        """See what became of the batches on their way."""
        while self._batches and (outcome := self._batches[0].receipt.outcome(session)) is not None:
            batch = self._batches.popleft()
            for kind in batch.kinds:
                self._count(kind, arrived=outcome is DeliveryOutcome.TAKEN)
            if batch.picture:
                self._learn(batch, outcome)

    def send(self, session: int, *, hurry: bool) -> None:
        """Hand over what is due and may be on its way; in a ``hurry`` the heatmap at once."""
        kinds = [
            SCORE
            for shown in self._queue.next_scores(MAX_SCORES - self.on_the_way(SCORE))
            if self._score(session, shown)
        ]
        picture = 0
        if (
            not self.on_the_way(HEATMAP)
            and (shown := self._queue.next_heatmap(time.monotonic(), hurry=hurry)) is not None
        ):
            picture = self._heatmap(session, shown)
            kinds += [HEATMAP] * (picture > 0)
        if not self.on_the_way(STATS) and time.monotonic() >= self._stats_due and self._send_stats(session):
            kinds.append(STATS)
        self._follow(session, kinds, picture)

    def send_stats(self, session: int) -> None:
        """Hand over the last statistics."""
        if self._send_stats(session):
            self._follow(session, [STATS], 0)

    def waits(self) -> bool:
        """Whether anything waits to be sent."""
        return any(self._queue.depths.values())

    def drop(self) -> None:
        """Drop what waits: there is no connection."""
        self._queue.drop()

    def give_up(self) -> None:
        """Count what is on its way, and what waits, as dropped."""
        for batch in self._batches:
            for kind in batch.kinds:
                self._ledger.dropped(kind)
        self._batches.clear()
        self._queue.drop()

    def _follow(self, session: int, kinds: list[str], picture: int) -> None:
        if not kinds:
            return
        receipt = self._connection.fence(session)
        if receipt is None:
            for kind in kinds:
                self._ledger.dropped(kind)
            self._ended_under(picture)
        else:
            self._batches.append(_Batch(tuple(kinds), receipt, time.monotonic(), picture))

    def _score(self, session: int, inspection: Inspection) -> bool:
        latency = (time.monotonic() - inspection.frame.captured_monotonic) * 1000
        payload = self._make(SCORE, lambda: score_message(inspection, latency).to_json())
        if payload is None:
            return False
        self._ledger.latency(latency)
        return self._send(session, SCORE, payload)

    def _heatmap(self, session: int, inspection: Inspection) -> int:
        """Gives the bytes that were handed over."""
        info = self._make(HEATMAP, lambda: heatmap_info(inspection))
        if info is None:
            return 0
        jpeg = self._make(HEATMAP, lambda: insert_comment(self._render(inspection), info.to_json()))
        if jpeg is None or not self._send(session, HEATMAP, jpeg, retain=True, tags=info.to_user_properties()):
            return 0
        return len(jpeg)

    def _send_stats(self, session: int) -> bool:
        self._stats_due = time.monotonic() + self._stats_seconds
        payload = self._make(STATS, lambda: self._stats().to_json())
        return payload is not None and self._send(session, STATS, payload, retain=True)

    def _send(
        self, session: int, kind: str, payload: bytes, *, retain: bool = False, tags: dict[str, str] | None = None
    ) -> bool:
        """Hand one message over, or count it as dropped."""
        topic = self._topics.of(kind)
        most = self._connection.max_payload(topic)
        if kind == HEATMAP:
            most = min(most, self._pictures.most)
        sent = False
        if len(payload) > most:
            self._connection.complaints.too_large(topic, len(payload), most)
        else:
            sent = self._connection.publish(session, topic, payload, retain=retain, tags=tags)
        if not sent:
            self._ledger.dropped(kind)
        return sent

    def _count(self, kind: str, *, arrived: bool) -> None:
        if arrived:
            self._ledger.published(kind)
        else:
            self._ledger.dropped(kind)

    def _learn(self, batch: _Batch, outcome: DeliveryOutcome) -> None:
        """Give a slow link as long a rest as the picture took, and leave out pictures that end the connection."""
        if outcome is DeliveryOutcome.TAKEN:
            self._pictures.taken()
            now = time.monotonic()
            self._queue.rest(2 * now - batch.sent)
        else:
            self._ended_under(batch.picture)

    def _ended_under(self, picture: int) -> None:
        closed = self._connection.last_end in (CLOSED, "Packet too large")
        if picture and closed and self._pictures.ended(picture):
            self._connection.complaints.picture_limit(self._pictures.most)

    def _make(self, kind: str, make: Callable[[], _Made]) -> _Made | None:
        """Make a message; the renderer is foreign, and one bad frame must not end the sender."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged and counted
            first = self._ledger.failed(kind) == 1
            _log.log(logging.ERROR if first else logging.DEBUG, "a %s could not be made", kind, exc_info=error)
            return None

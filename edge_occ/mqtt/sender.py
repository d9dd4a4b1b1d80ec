"""The thread behind the publisher: renders, writes JSON, hands over to the client and sees what becomes of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from paho.mqtt.client import MQTTMessageInfo

from edge_occ.inspection import Inspection
from edge_occ.mqtt.client import delivery
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.connection import Connection
from edge_occ.mqtt.jpeg import insert_comment
from edge_occ.mqtt.ledger import Ledger
from edge_occ.mqtt.messages import Stats, event_message, heatmap_info, score_message
from edge_occ.mqtt.outgoing import Outgoing, QueuedEvent
from edge_occ.mqtt.topics import EVENT, HEATMAP, SCORE, STATS

_log = logging.getLogger(__name__)

_Made = TypeVar("_Made")

SEND_SECONDS = 1.0
"""How long the sender waits for one message to leave before it looks after the others."""
_WINDOW = 10
"""Events handed to the client and not yet confirmed; fewer than any broker's receive maximum that was met."""
_HISTORICAL_SECONDS = 5.0
"""Age from which an event is no news."""


class Sender:
    """Empties the queues into the connection.

    Args:
        connection: connected before :meth:`run`.
        outgoing: the queues.
        ledger: counts what was sent and what was lost.
        config: topics and rates.
        render: makes the JPEG of a heatmap.
        stats: makes the statistics.
        wake: set by whoever has news for the sender: a new inspection, a confirmation, a connection.
    """

    def __init__(
        self,
        connection: Connection,
        outgoing: Outgoing,
        ledger: Ledger,
        config: MqttConfig,
        render: Callable[[Inspection], bytes],
        stats: Callable[[], Stats],
        wake: threading.Event,
    ) -> None:
        self._connection, self._outgoing, self._ledger = connection, outgoing, ledger
        self._topics, self._stats_seconds = config.topics, config.stats_seconds
        self._render, self._stats, self._wake = render, stats, wake
        self._session = 0
        self._in_flight: deque[tuple[MQTTMessageInfo, QueuedEvent]] = deque()
        self._leaving: tuple[str, MQTTMessageInfo] | None = None
        self._stats_due = time.monotonic()
        self._deadline: float | None = None

    def stop(self, deadline: float) -> None:
        """Ask :meth:`run` to return once nothing waits, at the latest about ``deadline`` on :func:`time.monotonic`."""
        self._deadline = deadline
        self._wake.set()

    def run(self) -> None:
        """Send until stopped."""
        while not self._finished():
            self._wake.wait(self._pause())
            self._wake.clear()
            self._cycle()
        if self._session and self._leaving is None:
            self._send_stats()
        self._outgoing.drop_live()
        self._outgoing.return_events([event for _, event in self._in_flight])
        lost = self._outgoing.drop_events()
        if lost:
            _log.warning("%d events could not be delivered before the end", lost)

    def _finished(self) -> bool:
        if self._deadline is None:
            return False
        idle = not (self._in_flight or self._leaving or any(self._outgoing.depths.values()))
        return idle or time.monotonic() >= self._deadline

    def _pause(self) -> float:
        """Seconds until something is due; whoever sets ``wake`` ends the pause before."""
        now = time.monotonic()
        if self._deadline is not None:
            return min(max(self._deadline - now, 0.0), 0.1)
        if not self._session or self._leaving is not None:
            return SEND_SECONDS
        heatmap = self._outgoing.heatmap_wait(now)
        due = self._stats_due - now
        return max(due if heatmap is None else min(heatmap, due), 0.0)

    def _cycle(self) -> None:
        self._settle(self._connection.session)
        if not self._session:
            self._outgoing.drop_live()
            return
        self._send_events()
        if self._leaving is not None:
            return
        for _ in range(self._outgoing.depths[SCORE]):
            if not self._send_score():
                return
        if self._send_heatmap() and time.monotonic() >= self._stats_due:
            self._send_stats()

    def _settle(self, session: int) -> None:
        """See what became of what was handed over; take back what a lost connection has left unconfirmed."""
        waiting = [(info, event) for info, event in self._in_flight if delivery(info) is not True]
        for _ in range(len(self._in_flight) - len(waiting)):
            self._ledger.published(EVENT)
        if session != self._session:
            self._outgoing.return_events([event for _, event in waiting])
            waiting = []
        self._in_flight = deque(waiting)
        if self._leaving is not None:
            kind, info = self._leaving
            left = delivery(info)
            if left is not None or session != self._session:
                self._count(kind, left=left is True)
                self._leaving = None
        self._session = session

    def _send_events(self) -> None:
        while len(self._in_flight) < _WINDOW and (event := self._outgoing.next_event()) is not None:
            payload = self._make(EVENT, partial(_event_payload, event))
            if payload is None:
                continue
            info = self._connection.publish(self._session, self._topics.event, payload, qos=1)
            if info is None:
                self._outgoing.return_events([event])
                return
            self._in_flight.append((info, event))

    def _send_score(self) -> bool:
        inspection = self._outgoing.next_score()
        if inspection is None:
            return True
        latency = (time.monotonic() - inspection.frame.captured_monotonic) * 1000
        payload = self._make(SCORE, lambda: score_message(inspection, latency).to_json())
        if payload is None:
            return True
        self._ledger.latency(latency)
        return self._send(SCORE, payload)

    def _send_heatmap(self) -> bool:
        inspection = self._outgoing.next_heatmap(time.monotonic(), hurry=self._deadline is not None)
        if inspection is None:
            return True
        info = self._make(HEATMAP, lambda: heatmap_info(inspection))
        if info is None:
            return True
        jpeg = self._make(HEATMAP, lambda: insert_comment(self._render(inspection), info.to_json()))
        if jpeg is None:
            return True
        if len(jpeg) > self._connection.most_payload:
            _log.warning("a heatmap of %d bytes is more than the broker takes", len(jpeg))
            self._ledger.dropped(HEATMAP)
            return True
        return self._send(HEATMAP, jpeg, retain=True, tags=info.to_tags())

    def _send_stats(self) -> None:
        self._stats_due = time.monotonic() + self._stats_seconds
        payload = self._make(STATS, lambda: self._stats().to_json())
        if payload is not None:
            self._send(STATS, payload, retain=True)

    def _send(self, kind: str, payload: bytes, *, retain: bool = False, tags: dict[str, str] | None = None) -> bool:
        """Send with QoS 0 and wait a little until it has left; gives whether the next may follow.

        paho queues QoS 0 without bound, so there is never more than one message of ours in it.
        """
        topic = self._topics.of(kind)
        info = self._connection.publish(self._session, topic, payload, retain=retain, tags=tags)
        left = False if info is None else delivery(info, SEND_SECONDS)
        if info is not None and left is None:
            self._leaving = (kind, info)
            return False
        self._count(kind, left=left is True)
        return left is True

    def _count(self, kind: str, *, left: bool) -> None:
        if left:
            self._ledger.published(kind)
        else:
            self._ledger.dropped(kind)

    def _make(self, kind: str, make: Callable[[], _Made]) -> _Made | None:
        """Make a message; the renderer is foreign, and one bad frame must not end the sender."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged and counted
            first = self._ledger.failed(kind) == 1
            _log.log(logging.ERROR if first else logging.DEBUG, "a %s could not be made", kind, exc_info=error)
            return None


def _event_payload(event: QueuedEvent) -> bytes:
    age = time.monotonic() - event.inspection.frame.captured_monotonic
    return event_message(event.inspection, historical=event.offline or age > _HISTORICAL_SECONDS).to_json()

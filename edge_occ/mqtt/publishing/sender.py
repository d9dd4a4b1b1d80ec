"""The thread behind the publisher: events first, then live messages."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.receipts import DeliveryOutcome, Receipt
from edge_occ.mqtt.payloads import Event
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.publishing.event_store import EventStore, QueuedEvent
from edge_occ.mqtt.publishing.journal import EventJournal
from edge_occ.mqtt.publishing.live_sender import LiveSender
from edge_occ.mqtt.topics import EVENT

_log = logging.getLogger(__name__)

SEND_SECONDS = 1.0
"""Longest sleep of the sender, and time limit of the last stats."""
_MAX_IN_FLIGHT = 10
"""Events handed to the client and not yet confirmed."""
_HISTORICAL_SECONDS = 5.0
"""Age from which an event is historical."""


class Sender:
    """Empties the event store and the send queue into the connection.

    Args:
        connection: connected before :meth:`run`.
        events: the event store.
        live: sends everything else.
        stats: counts what was sent and what was lost.
        journal: keeps the open events.
        topic: of events.
        wake: set on a new inspection, a confirmation, a connection or its end.
    """

    def __init__(
        self,
        connection: Connection,
        events: EventStore,
        live: LiveSender,
        stats: DeliveryStats,
        journal: EventJournal,
        topic: str,
        wake: threading.Event,
    ) -> None:
        self._connection, self._events, self._live, self._stats = connection, events, live, stats
        self._journal, self._topic, self._wake = journal, topic, wake
        self._session = 0
        self._in_flight: deque[tuple[Receipt, QueuedEvent]] = deque()
        self._deadline: float | None = None

    def stop(self, deadline: float) -> None:
        """Let :meth:`run` return once nothing waits, at the latest about ``deadline`` on :func:`time.monotonic`."""
        self._deadline = deadline
        self._wake.set()

    def run(self) -> None:
        """Send until stopped."""
        while not self._finished():
            self._wake.wait(self._pause())
            self._wake.clear()
            self._cycle()
        self._send_last_stats()
        self._live.drop_all()
        lost = self._events.drop_all()
        if lost:
            _log.warning("%d event messages could not be delivered before the end", lost)

    def _finished(self) -> bool:
        if self._deadline is None:
            return False
        return self._idle() or time.monotonic() >= self._deadline

    def _idle(self) -> bool:
        return not (self._events.depth or self._live.has_waiting() or self._live.in_flight())

    def _pause(self) -> float:
        """Return the seconds until something is due; setting ``wake`` ends the pause early."""
        now = time.monotonic()
        if self._deadline is not None:
            return min(max(self._deadline - now, 0.0), 0.1)
        wait = self._live.wait(now) if self._session else None
        return SEND_SECONDS if wait is None else wait

    def _cycle(self) -> None:
        self._settle(self._connection.session)
        if not self._session:
            self._live.drop_waiting()
            return
        self._send_events()
        self._live.send(self._session, hurry=self._deadline is not None)

    def _settle(self, session: int) -> None:
        """Settle what was answered; give back what a lost connection has left unconfirmed."""
        waiting: deque[tuple[Receipt, QueuedEvent]] = deque()
        for receipt, event in self._in_flight:
            outcome = receipt.outcome(session)
            if outcome in (DeliveryOutcome.TAKEN, DeliveryOutcome.REFUSED):
                self._answered(receipt, event.message)
                self._events.settle(event)
            else:
                waiting.append((receipt, event))
        self._in_flight = waiting
        if session != self._session:
            self._in_flight.clear()
            self._events.give_back()
        self._live.settle(session)
        self._session = session

    def _answered(self, receipt: Receipt, message: Event) -> None:
        if message.phase is Phase.END or (receipt.reason and message.phase is Phase.START):
            self._journal.closed(message.id)
        if receipt.reason:
            self._stats.refused(EVENT)
            self._connection.log.refused(self._topic, receipt.reason)
        else:
            self._stats.published(EVENT)

    def _send_events(self) -> None:
        # One of the unconfirmed messages that the broker accepts is reserved for the status.
        window = max(min(_MAX_IN_FLIGHT, self._connection.limits.in_flight - 1), 1)
        while len(self._in_flight) < window and (event := self._events.take()) is not None:
            payload = self._payload(event)
            if payload is None:
                self._events.settle(event)
                self._journal.closed(event.message.id)
                continue
            if event.message.phase is Phase.START:
                self._journal.opened(event.message)
            receipt = self._connection.publish_confirmed(self._session, self._topic, payload)
            if receipt is None:  # another session: the next cycle gives the event back
                return
            self._in_flight.append((receipt, event))

    def _payload(self, event: QueuedEvent) -> bytes | None:
        """Return the JSON, without boxes if it is too large with them; ``None`` if it is still too large."""
        age = time.monotonic() - event.captured
        historical = event.message.historical or event.offline or age > _HISTORICAL_SECONDS
        message = event.message.model_copy(update={"historical": historical})
        limit = self._connection.max_payload(self._topic)
        for boxes in (message.boxes, ()):
            payload = message.model_copy(update={"boxes": boxes}).to_json()
            if len(payload) <= limit:
                return payload
        self._connection.log.too_large(self._topic, len(payload), limit)
        self._stats.dropped(EVENT)
        return None

    def _send_last_stats(self) -> None:
        """Send the last stats once nothing else is in flight."""
        self._settle(self._connection.session)
        if not self._session or not self._idle():
            return
        self._live.send_stats(self._session)
        deadline = time.monotonic() + SEND_SECONDS
        while self._live.in_flight() and (left := deadline - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
            self._settle(self._connection.session)

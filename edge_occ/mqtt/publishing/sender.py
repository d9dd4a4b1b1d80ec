"""The thread behind the publisher: events first, then live messages."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import NamedTuple

from pydantic import ValidationError

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.receipts import DeliveryOutcome, Receipt
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.profiles import messages_of, platform_messages
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.publishing.event_store import EventStore, QueuedEvent
from edge_occ.mqtt.publishing.live_sender import LiveSender
from edge_occ.mqtt.publishing.recent_events import RecentEvents
from edge_occ.mqtt.topics import EVENT

_log = logging.getLogger(__name__)

SEND_SECONDS = 1.0
"""Longest sleep of the sender, time between writes of the event store to the disk, and time limit of the last stats."""
_MAX_IN_FLIGHT = 10
"""Events handed to the client and not yet confirmed."""
_HISTORICAL_SECONDS = 5.0
"""Age from which an event is historical."""


class _Sent(NamedTuple):
    """An event message that was handed over and is not confirmed.

    Attributes:
        receipt: of the delivery.
        event: the message.
        again: confirmed before and no longer in the event store.
    """

    receipt: Receipt
    event: QueuedEvent
    again: bool


class Sender:
    """Empties the event store and the send queue into the connection.

    A broker that was killed has lost what it had in memory, including messages that it had confirmed.  With
    ``repeat_seconds``, those of the last seconds are sent again after every lost connection but one whose session the
    broker has kept: no client can tell a killed broker from a broken link.

    Args:
        connection: connected before :meth:`run`.
        events: the event store.
        live: sends everything else.
        stats: counts what was sent and what was lost.
        config: topics and profile.
        wake: set on a new inspection, a confirmation, a connection or its end.
    """

    def __init__(
        self,
        connection: Connection,
        events: EventStore,
        live: LiveSender,
        stats: DeliveryStats,
        config: MqttConfig,
        wake: threading.Event,
    ) -> None:
        self._connection, self._events, self._live, self._stats = connection, events, live, stats
        self._topics, self._profile, self._wake = config.topics, config.profile, wake
        self._once = config.once
        self._topic = config.topics.event
        self._session, self._losses, self._sync_due = 0, 0, 0.0
        self._in_flight: deque[_Sent] = deque()
        self._next: QueuedEvent | None = None  # taken, but not handed over
        self._recent = RecentEvents(config.repeat_seconds)
        self._again: deque[QueuedEvent] = deque()  # before those of the store
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

    def _finished(self) -> bool:
        if self._deadline is None:
            return False
        # Without a connection there is nothing to wait for, where the next run sends what is left.
        kept = not self._connection.session and self._events.lasting
        return kept or self._idle() or time.monotonic() >= self._deadline

    def _idle(self) -> bool:
        return not (self._events.depth or self._again or self._live.has_waiting() or self._live.in_flight())

    def _pause(self) -> float:
        """Return the seconds until something is due; setting ``wake`` ends the pause early."""
        now = time.monotonic()
        if self._deadline is not None:
            return min(max(self._deadline - now, 0.0), 0.1)
        wait = self._live.wait(now) if self._session else None
        return SEND_SECONDS if wait is None else min(wait, SEND_SECONDS)

    def _cycle(self) -> None:
        self._settle(self._connection.session)
        if self._session:
            self._send_events()
            self._live.send(self._session, hurry=self._deadline is not None)
        else:
            self._live.drop_waiting()
        if time.monotonic() >= self._sync_due:
            self._events.sync()
            self._sync_due = time.monotonic() + SEND_SECONDS

    def _settle(self, session: int) -> None:
        """Settle what was answered; give back what a lost connection has left unconfirmed.

        In a session that the broker keeps, the client sends again what is unconfirmed, and the receipts stay pending.
        """
        now = time.monotonic()
        waiting: deque[_Sent] = deque()
        lost = False
        for sent in self._in_flight:
            outcome = sent.receipt.outcome(session)
            if outcome in (DeliveryOutcome.TAKEN, DeliveryOutcome.REFUSED):
                self._answered(sent, now)
            else:
                lost |= outcome is DeliveryOutcome.UNKNOWN
                waiting.append(sent)
        self._in_flight = waiting
        if lost:  # all of them: they are of one session
            self._again.extendleft(sent.event for sent in reversed(waiting) if sent.again)
            self._in_flight.clear()
            self._next = None
            self._events.give_back()
        if self._losses != (losses := self._connection.lost_sessions):
            self._losses = losses
            confirmed = self._recent.take_all()
            self._again.extendleft(reversed(confirmed))
            if confirmed:
                _log.info("%d event messages that the broker had confirmed are sent again", len(confirmed))
        elif session:
            self._recent.forget(now)
        self._live.settle(session)
        self._session = session

    def _answered(self, sent: _Sent, now: float) -> None:
        if not sent.again:
            self._events.settle(sent.event)
        if sent.receipt.reason:
            self._stats.refused(EVENT)
            self._connection.log.refused(self._topic, sent.receipt.reason)
            return
        self._recent.add(sent.event, now)
        if not sent.again:
            self._stats.published(EVENT)

    def _send_events(self) -> None:
        # One of the unconfirmed messages that the broker accepts is reserved for the status.
        waiting = min(_MAX_IN_FLIGHT, self._connection.limits.in_flight - 1)
        window = max(waiting // messages_of(self._profile, EVENT), 1)
        while len(self._in_flight) < window:
            again = bool(self._again)
            event = self._again.popleft() if again else self._next or self._events.take()
            if event is None:
                return
            if not again:
                self._next = None
            payload = self._payload(event)
            if payload is None:
                if not again:
                    self._events.settle(event)
                continue
            if event.phase is Phase.START and not again:  # even after a power cut, an event that has started must end
                self._events.sync()
            receipt = self._publish(payload)
            if receipt is None:  # another connection: the next cycle sends it
                if again:
                    self._again.appendleft(event)
                else:
                    self._next = event
                return
            self._in_flight.append(_Sent(receipt, event, again))

    def _publish(self, payload: bytes) -> Receipt | None:
        """Hand over what an event message becomes; the last one's receipt stands for all, as brokers keep the order."""
        receipt = None
        for topic, content in platform_messages(self._profile, self._topics, EVENT, payload):
            receipt = self._connection.publish_confirmed(self._session, topic, content, once=self._once)
            if receipt is None:
                break
        return receipt

    def _payload(self, event: QueuedEvent) -> bytes | None:
        """Return the JSON, without boxes if it is too large with them; ``None`` if still too large, or damaged."""
        historical = event.historical or time.monotonic() - event.captured > _HISTORICAL_SECONDS
        limit = self._connection.max_payload(self._topic)
        if not historical and len(event.payload) <= limit:
            return event.payload
        try:
            message = event.message.model_copy(update={"historical": historical})
        except ValidationError as error:
            _log.error("a message of the event %.80r in the outbox is damaged: %s", event.id, error.errors()[0]["msg"])
            self._stats.failed(EVENT)
            return None
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

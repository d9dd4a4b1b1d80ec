"""Arrival of command messages: bounded in size, number and rate, in the network thread."""

from __future__ import annotations

import logging
import queue
from dataclasses import dataclass
from typing import Protocol

from paho.mqtt.client import MQTTMessage

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.mqtt.client.paho_client import Subscription
from edge_occ.mqtt.commands.rate import TokenBucket
from edge_occ.mqtt.topics import Topics

_log = logging.getLogger(__name__)

MAX_PACKET = 65_536
"""Bytes of the largest packet that a broker of MQTT 5 is asked to send: above it, a request gets no answer."""

MAX_RATE = 10.0
"""Requests of one camera a second; more are refused, and beyond twice as many there is no answer."""

MAX_WAITING = 64
"""Requests of all cameras that wait to be carried out."""


class Receiver(Protocol):
    """Takes what has arrived; called in the thread that carries out commands."""

    def take(self, arrival: Arrival) -> None:
        """Answer one message."""


@dataclass(frozen=True)
class Arrival:
    """A message on a command topic.

    Attributes:
        receiver: of its camera.
        payload: its bytes.
        retained: whether it is retained at the broker.
        too_many: whether it exceeds the rate.
        at: time of arrival, monotonic seconds.
    """

    receiver: Receiver
    payload: bytes
    retained: bool
    too_many: bool
    at: float


ArrivalQueue = queue.Queue[Arrival]


class Inbox:
    """Takes the messages of one camera's command topic; never blocks.

    Args:
        topics: of the camera.
        receiver: answers them.
        arrivals: of all cameras; a full one drops what arrives, which is logged.
        clock: replaced in tests.
    """

    def __init__(self, topics: Topics, receiver: Receiver, arrivals: ArrivalQueue, clock: Clock = SYSTEM_CLOCK) -> None:
        self._receiver, self._arrivals, self._clock = receiver, arrivals, clock
        self._accepted, self._refused = TokenBucket(MAX_RATE), TokenBucket(MAX_RATE)
        self._warn = RateLimitedLog(_log.warning, max_messages=1)
        self._topic = topics.command
        self.subscription = Subscription(
            (topics.command,), self._receive, MAX_PACKET, required=False, as_published=True
        )

    def _receive(self, message: MQTTMessage) -> None:
        now = self._clock.monotonic()
        too_many = not self._accepted.take(now)
        if not too_many or self._refused.take(now):
            arrival = Arrival(self._receiver, bytes(message.payload), bool(message.retain), too_many, now)
            try:
                self._arrivals.put_nowait(arrival)
            except queue.Full:
                pass
            else:
                return
        self._warn("flood", "too many messages on %s: some got no answer", self._topic)

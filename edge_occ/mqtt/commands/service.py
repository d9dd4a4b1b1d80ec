"""The thread that answers commands: every message gets one answer, and every request is carried out once."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError

from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.errors import UserError
from edge_occ.mqtt.client.paho_client import Subscription
from edge_occ.mqtt.commands.answers import AnswerMemory, CommandAck, CommandStatus, RequestOutcome
from edge_occ.mqtt.commands.handler import CommandHandler
from edge_occ.mqtt.commands.inbox import MAX_RATE, MAX_WAITING, Arrival, ArrivalQueue, Inbox
from edge_occ.mqtt.commands.replies import Replies
from edge_occ.mqtt.commands.requests import RefusedRequest, Request, parse_request
from edge_occ.mqtt.topics import Topics

_log = logging.getLogger(__name__)

MAX_AGE = 60.0
"""Seconds that a request may wait behind others; then it is refused, as nobody expects it any more."""

_POLL_SECONDS = 0.2


class CommandChannel:
    """The commands of one camera.

    Args:
        topics: of the camera.
        enabled: commands that are carried out.
        arrivals: queue of all cameras.
        clock: replaced in tests.
    """

    def __init__(
        self, topics: Topics, enabled: Sequence[str], arrivals: ArrivalQueue, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self.topics = topics
        self._enabled, self._clock = tuple(enabled), clock
        self._inbox = Inbox(topics, self, arrivals, clock)
        self._memory = AnswerMemory()
        self._handler: CommandHandler | None = None
        self._replies: Replies | None = None

    @property
    def subscription(self) -> Subscription:
        """For the connection of the camera."""
        return self._inbox.subscription

    def serve(self, handler: CommandHandler, replies: Replies) -> None:
        """Set what carries the requests out and publishes the answers; before the thread starts."""
        self._handler, self._replies = handler, replies

    def take(self, arrival: Arrival) -> None:
        """Answer one message."""
        try:
            answer = self._answer(arrival)
        except RefusedRequest as error:
            answer = self._ack(error.id, error.command, RequestOutcome.refused(error.reason))
        self._publish(answer)

    def tick(self) -> None:
        """Have the handler do what is due, and answer the requests that have come to their end."""
        if self._handler is None:
            return
        try:
            later = self._handler.tick()
        except Exception as error:  # noqa: BLE001 - it must not end the thread
            _failure(error)
            return
        for request, outcome in later:
            answer = self._ack(request.id, request.command, _outcome(outcome))
            self._memory.keep(request, answer)
            self._publish(answer)

    def _publish(self, answer: CommandAck) -> None:
        if answer.status not in {CommandStatus.DONE, CommandStatus.ACCEPTED}:
            _log.info("command %s %s %s: %s", answer.command, answer.id, answer.status.value, answer.reason)
        if self._replies is not None:
            self._replies.acknowledge(answer)

    def _answer(self, arrival: Arrival) -> CommandAck:
        request = parse_request(arrival.payload)
        named = (request.id, request.command)
        if arrival.retained:
            raise RefusedRequest("retained: a command must be sent without the retain flag", *named)
        if (known := self._find(request)) is not None:
            return known
        if arrival.too_many:
            raise RefusedRequest(f"more than {MAX_RATE:g} requests a second", *named)
        if request.command not in self._enabled:
            raise RefusedRequest("not enabled: add it to the setting mqtt.commands", *named)
        waited = self._clock.monotonic() - arrival.at
        if waited > MAX_AGE or self._handler is None:
            raise RefusedRequest(f"it waited {waited:.0f} s for others; send it again with another id", *named)
        handler = self._handler
        answer = self._ack(*named, _outcome(lambda: handler.handle(request)))
        self._memory.keep(request, answer)
        return answer

    def _find(self, request: Request) -> CommandAck | None:
        try:
            return self._memory.find(request)
        except ValueError as error:
            raise RefusedRequest(str(error), request.id, request.command) from None

    def _ack(self, id_: str, command: str, outcome: RequestOutcome) -> CommandAck:
        ts = round(self._clock.now().timestamp() * 1000)
        return CommandAck(
            **self.topics.origin._asdict(), ts=ts, id=id_, command=command, status=outcome.status, reason=outcome.reason
        )


class CommandService:
    """One thread for the commands of all cameras, in the order of arrival; none without an enabled command.

    Args:
        enabled: commands that are carried out.
    """

    def __init__(self, enabled: Sequence[str]) -> None:
        self._enabled = enabled
        self._arrivals: ArrivalQueue = queue.Queue(MAX_WAITING)
        self._channels: list[CommandChannel] = []
        self.stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge-occ commands", daemon=True)

    def open(self, topics: Topics) -> CommandChannel | None:
        """Return the channel of one more camera; ``None`` where no command is enabled."""
        if not self._enabled:
            return None
        channel = CommandChannel(topics, self._enabled, self._arrivals)
        self._channels.append(channel)
        return channel

    def start(self) -> None:
        """Answer what has arrived and what arrives."""
        if self._channels:
            self._thread.start()

    def close(self) -> None:
        """End, after the command under way."""
        self.stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self.stopped.is_set():
            try:
                arrival = self._arrivals.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                pass
            else:
                arrival.receiver.take(arrival)
            for channel in self._channels:
                channel.tick()


def _outcome(act: Callable[[], RequestOutcome]) -> RequestOutcome:
    """Return the outcome of an action whatever it raises."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - one command must not end the thread
        return _failure(error)


def _failure(error: Exception) -> RequestOutcome:
    if isinstance(error, UserError):
        return RequestOutcome.failed(str(error))
    if isinstance(error, CancelledError):
        return RequestOutcome.failed("it was given up, or the run ends")
    _log.error("a command failed", exc_info=error)
    return RequestOutcome.failed(f"an internal error: {type(error).__name__}; see the log of the inspector")

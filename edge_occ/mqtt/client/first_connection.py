"""The first connection of a client: required, or attempted in a thread until it succeeds while the program goes on.

paho's own loop, which reconnects later, knows one version of the protocol only and reports nothing.
"""

from __future__ import annotations

import threading
import time

from edge_occ.mqtt.broker import Broker
from edge_occ.mqtt.client.connection_log import ConnectionLog
from edge_occ.mqtt.client.failures import Failure, from_timeout, refusal
from edge_occ.mqtt.client.handshake import Handshake
from edge_occ.mqtt.client.paho_client import RECONNECT_SECONDS, SOCKET_SECONDS
from edge_occ.mqtt.client.subscriber import Subscriber

_ATTEMPT_SECONDS = 10.0
"""Time limit of every attempt in the background but the first, whose limit is given."""


class FirstConnection:
    """Connects for the first time, by one of two methods, once.

    Args:
        handshake: connects.
        subscriber: of the client.
        broker: named in errors.
        log: log of connection problems.
        name: of the thread.
    """

    def __init__(
        self, handshake: Handshake, subscriber: Subscriber, broker: Broker, log: ConnectionLog, name: str
    ) -> None:
        self._handshake, self._subscriber, self._broker, self._log = handshake, subscriber, broker, log
        self._attempted = threading.Event()
        self._final: Failure | None = None
        self._timeout = 0.0
        self._thread = threading.Thread(target=self._run, name=f"{name}-connecting", daemon=True)

    def connect(self, timeout: float) -> None:
        """Connect within ``timeout`` seconds.

        Raises:
            InputError: that failed.
        """
        failure = self._attempt(timeout)
        if failure is not None:
            raise refusal(self._broker, failure)

    def start(self, timeout: float) -> None:
        """Attempt in a thread until one succeeds; return after the first attempt, or after ``timeout`` seconds.

        Raises:
            InputError: the broker has said by then that it does not accept this client, or cannot be trusted.
        """
        self._timeout = timeout
        self._thread.start()
        if not self._attempted.wait(timeout):
            self._log.absent(from_timeout(timeout))
        if self._final is not None:
            raise refusal(self._broker, self._final)

    def stop(self) -> None:
        """End the attempts; one that waits for the network may last its 5 s."""
        self._handshake.stopped.set()
        if self._thread.ident is not None:
            self._thread.join(SOCKET_SECONDS)

    @property
    def stopped(self) -> bool:
        """True if the attempts are to end."""
        return self._handshake.stopped.is_set()

    def _run(self) -> None:
        pause, longest = RECONNECT_SECONDS
        seconds = self._timeout
        while (failure := self._attempt(seconds)) is not None and not self.stopped:
            if failure.final and not self._attempted.is_set():
                self._final = failure
                break
            self._log.absent(failure)
            self._attempted.set()
            if self._handshake.stopped.wait(pause):
                return
            seconds, pause = max(self._timeout, _ATTEMPT_SECONDS), min(2 * pause, longest)
        self._attempted.set()

    def _attempt(self, seconds: float) -> Failure | None:
        """Connect once, within ``seconds``; return why that failed, ``None`` if it succeeded."""
        deadline = time.monotonic() + seconds
        client = self._handshake.run(deadline)
        answered = client is not None
        if client is not None:
            client.loop_start()
            answered = self._subscriber.wait(deadline - time.monotonic())
        failure = self._handshake.failure or self._subscriber.failure
        return failure if answered or failure is not None else from_timeout(seconds)

"""Threads that follow the broker and feed the state."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from edge_occ.common.errors import InputError
from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.state import LineState
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.topics import EVENT, HEATMAP, SCORE, STATS, STATUS
from edge_occ.mqtt.watch import Watcher

_log = logging.getLogger(__name__)

_CONNECTIONS = (STATUS, EVENT, STATS), (SCORE, HEATMAP)
"""Kinds of topics of each connection.  A broker sends few messages of QoS 1 before the first is confirmed, so on a
connection of their own events do not wait behind scores and pictures."""
_RETRY_SECONDS = 2.0
_TICK_SECONDS = 0.5
_FAREWELL_SECONDS = 0.3


class _Follower(threading.Thread):
    """Takes the messages of some kinds; waits for a broker that is not there.

    Attributes:
        problem: why there is no broker; empty if there is one, or no attempt has ended yet.
    """

    def __init__(
        self, config: MqttConfig, kinds: tuple[str, ...], stop: threading.Event, take: Callable[[Received], None]
    ) -> None:
        super().__init__(name=f"edge-occ dashboard {kinds[0]}", daemon=True)
        self.problem = ""
        self._config, self._kinds, self._stopped, self._take = config, kinds, stop, take
        self._watcher = self._new_watcher()

    @property
    def session(self) -> int:
        """Number of the current connection, 0 without one."""
        return self._watcher.session

    def run(self) -> None:
        """Follow the broker until stopped."""
        while not self._stopped.is_set():
            try:
                with self._watcher as watcher:
                    self.problem = ""
                    for received in watcher:
                        self._take(received)
            except InputError as error:
                self.problem = error.found
            if not self._stopped.wait(_RETRY_SECONDS):
                self._watcher = self._new_watcher()

    def _new_watcher(self) -> Watcher:
        return Watcher(self._config, kinds=self._kinds, stop=self._stopped)


class LineSubscriber:
    """The state of a line, kept up to date while the context lasts.

    Args:
        config: broker and prefix.
        limits: bounds of the state.

    Raises:
        InputError: the broker's address, credentials or certificates cannot be used.
    """

    def __init__(self, config: MqttConfig, limits: Limits) -> None:
        self._config = config
        self._state, self._lock = LineState(limits), threading.Lock()
        self._stop = threading.Event()
        self._followers = [_Follower(config, kinds, self._stop, self._take) for kinds in _CONNECTIONS]
        self._clock = threading.Thread(target=self._tick, name="edge-occ dashboard clock", daemon=True)

    def __enter__(self) -> LineSubscriber:
        for thread in (*self._followers, self._clock):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End at once: a thread that waits for a broker's answer ends by itself, or with the process."""
        self._stop.set()
        deadline = time.monotonic() + _FAREWELL_SECONDS
        for thread in (*self._followers, self._clock):
            thread.join(max(deadline - time.monotonic(), 0))

    @contextmanager
    def state(self) -> Iterator[LineState]:
        """The state, which nothing changes meanwhile."""
        with self._lock:
            yield self._state

    def broker(self) -> dict[str, Any]:
        """Return whether the broker is connected, its address, and why it is not, as JSON."""
        connected = all(follower.session for follower in self._followers)
        problem = next(filter(None, (follower.problem for follower in self._followers)), "no connection")
        return {"connected": connected, "address": self._config.broker, "problem": "" if connected else problem}

    def _take(self, received: Received) -> None:
        with self._lock:
            self._state.apply(received)

    def _tick(self) -> None:
        """Take the time, and note every new connection to the broker, before which messages may have been missed."""
        connection, problem = 0, ""
        while not self._stop.wait(_TICK_SECONDS):
            before, connection = connection, self._followers[0].session
            with self._lock:
                if connection > 1 and connection != before:
                    self._state.miss()
                self._state.tick(datetime.now(timezone.utc))
            known, problem = problem, self._followers[0].problem
            if problem and not known:
                _log.warning("no broker yet: %s", problem)

"""A thread that follows the broker and feeds the state; it waits for a broker that is not there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from edge_occ.common.errors import InputError
from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.state import LineState
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.watch import Watcher

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 2.0
_TICK_SECONDS = 0.5


class Subscriber:
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
        self._watcher = self._new_watcher()
        self._session, self._problem = 0, ""
        self._threads = [
            threading.Thread(target=target, name=f"edge-occ dashboard {name}", daemon=True)
            for name, target in (("messages", self._follow), ("clock", self._tick))
        ]

    def __enter__(self) -> Subscriber:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End at once: a thread that waits for a broker's answer ends by itself, or with the process."""
        self._stop.set()
        for thread in self._threads:
            thread.join(0.3)

    @contextmanager
    def state(self) -> Iterator[LineState]:
        """The state, which nothing changes meanwhile."""
        with self._lock:
            yield self._state

    def broker(self) -> dict[str, Any]:
        """Return whether the broker is connected, its address, and why it is not, as JSON."""
        connected = self._watcher.session > 0
        return {
            "connected": connected,
            "address": self._config.broker,
            "problem": "" if connected else self._problem or "no connection",
        }

    def _new_watcher(self) -> Watcher:
        return Watcher(self._config, stop=self._stop)

    def _follow(self) -> None:
        while not self._stop.is_set():
            problem = self._follow_a_broker()
            if problem is not None and not self._stop.wait(_RETRY_SECONDS):
                self._watcher = self._new_watcher()

    def _follow_a_broker(self) -> str | None:
        """Take messages until stopped; return why there is no broker."""
        try:
            with self._watcher as watcher:
                self._problem = ""
                for received in watcher:
                    self._take(received)
        except InputError as error:
            if not self._problem:
                _log.warning("no broker yet: %s", error.found)
            self._problem = error.found
        return self._problem or None

    def _take(self, received: Received) -> None:
        with self._lock:
            self._state.apply(received)

    def _tick(self) -> None:
        """Take the time, and note every new connection to the broker, before which messages may have been missed."""
        while not self._stop.wait(_TICK_SECONDS):
            session = self._watcher.session
            with self._lock:
                if session > 1 and session != self._session:
                    self._state.miss()
                self._state.tick(datetime.now(timezone.utc))
            self._session = session

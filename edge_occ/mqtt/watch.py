"""A subscriber: parsed messages of one device or of all, on one line or several."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from paho.mqtt.client import MQTTMessage

from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.paho_client import Subscription
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.payloads import PAYLOADS, DeviceState, DeviceStatus, Event
from edge_occ.mqtt.received import MAX_BYTES, Received, read_payload
from edge_occ.mqtt.recorder import MessageRecorder
from edge_occ.mqtt.seen_events import SeenEvents
from edge_occ.mqtt.topics import HEATMAP, check_device

_log = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
"""Period at which an idle iteration checks whether to stop."""


class Watcher:
    """Iterates over published messages; a context manager that owns its connection.

    Payloads that do not match their schema are logged, counted and skipped; event messages that arrive again are
    counted and skipped.  Messages that arrive faster than they are read wait in a bounded queue; beyond its bounds the
    oldest is dropped and counted.

    Args:
        config: broker and prefix, in which ``+`` stands for any one level.
        device: the one device to watch, ``None`` for all.
        kinds: kinds of topics to watch.
        save: folder to record all messages in, see :class:`~edge_occ.mqtt.recorder.MessageRecorder`.
        until_offline: end when all inspectors that were seen online are offline again.
        stop: ends the iteration when set.
        max_waiting: messages in the queue at most.
        max_waiting_bytes: bytes of the heatmaps in the queue at most.

    Attributes:
        invalid: messages skipped.
        repeated: event messages skipped because they had arrived before.
        dropped: messages dropped because the iteration was too slow.

    Raises:
        InputError: on entering, where the broker cannot be reached or the folder is not writable.
    """

    def __init__(  # noqa: PLR0913 - all but one have defaults
        self,
        config: MqttConfig,
        *,
        device: str | None = None,
        kinds: Iterable[str] = tuple(PAYLOADS),
        save: Path | None = None,
        until_offline: bool = False,
        stop: threading.Event | None = None,
        max_waiting: int = 10_000,
        max_waiting_bytes: int = 64 << 20,
    ) -> None:
        if device is not None:
            check_device(device)
        self.invalid = self.repeated = self.dropped = 0
        self._seen = SeenEvents()
        self._config, self._until_offline = config, until_offline
        self._stop = stop if stop is not None else threading.Event()
        self._recorder = None if save is None else MessageRecorder(save)
        self._stack = ExitStack()
        self._arrived = threading.Condition()
        self._waiting: deque[Received] = deque()
        self._waiting_bytes, self._max_waiting, self._max_waiting_bytes = 0, max_waiting, max_waiting_bytes
        self._online: set[tuple[str, str, str | None]] = set()
        base = f"{config.prefix}/{device or '+'}"
        filters = tuple(f"{levels}/{kind}" for levels in (base, f"{base}/+") for kind in kinds)
        # The broker limits whole packets; topic and properties come on top of the payload.
        subscription = Subscription(filters, self._receive, MAX_BYTES + 65_536)
        self._connection = Connection(config, f"edge-occ-watch-{uuid4().hex}", subscription=subscription)

    @property
    def session(self) -> int:
        """Number of the current connection to the broker, from 1; 0 while there is none."""
        return self._connection.session

    def __enter__(self) -> Watcher:
        with ExitStack() as stack:
            if self._recorder is not None:
                stack.enter_context(self._recorder)
            self._connection.connect(self._config.connect_timeout)
            stack.callback(self._connection.close, 1.0)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Received]:
        """Yield messages in the order of arrival, until stopped or, with ``until_offline``, until all are offline."""
        while (received := self._next()) is not None:
            if self._recorder is not None:
                self._recorder.write(received)
            yield received
            if self._until_offline and self._went_offline(received):
                return

    def _next(self) -> Received | None:
        with self._arrived:
            while not self._stop.is_set():
                if self._waiting:
                    return self._take()
                self._arrived.wait(_POLL_SECONDS)
        return None

    def _take(self) -> Received:
        received = self._waiting.popleft()
        self._waiting_bytes -= len(received.jpeg or b"")
        return received

    def _receive(self, message: MQTTMessage) -> None:
        """Queue one message, in the network thread."""
        now, moment = time.monotonic(), datetime.now(timezone.utc)
        payload = bytes(message.payload)
        try:
            topic = message.topic  # raises a ValueError where it is not UTF-8
            parts, content = read_payload(topic, payload, self._config.prefix)
        except ValueError as error:
            self.invalid += 1
            _log.warning("a message was skipped: %.200r", str(error))  # quoted: it may contain untrusted text
            return
        if isinstance(content, Event) and self._seen.is_repeated(topic, content):
            self.repeated += 1
            return
        jpeg = payload if parts.kind == HEATMAP else None
        received = Received(topic, *parts, content, jpeg, moment, now, message.retain)
        with self._arrived:
            self._waiting.append(received)
            self._waiting_bytes += len(jpeg or b"")
            while len(self._waiting) > self._max_waiting or self._waiting_bytes > self._max_waiting_bytes:
                self._take()
                self.dropped += 1
            self._arrived.notify()

    def _went_offline(self, received: Received) -> bool:
        """Return whether the last inspector that was seen online is offline now."""
        if not isinstance(received.message, DeviceStatus):
            return False
        inspector = (received.place, received.device, received.camera)
        if received.message.state is not DeviceState.OFFLINE:
            self._online.add(inspector)
            return False
        if inspector not in self._online:
            return False
        self._online.discard(inspector)
        return not self._online

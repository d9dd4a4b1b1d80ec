"""The sink that speaks MQTT: what the frame path hands over is queued and nothing more; one thread does the rest.

Scores and heatmaps are news: without a connection they are dropped and counted, so that no stale line is replayed
afterwards.  Events are kept in memory, up to a bound, and sent after reconnection, marked historical; they do not
survive this process (an outbox on disk is a later issue).  An event may arrive twice, never out of order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from types import TracebackType

from edge_occ.faults import Fault
from edge_occ.inspection import Inspection
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.connection import Connection
from edge_occ.mqtt.ledger import Ledger, Summary
from edge_occ.mqtt.messages import Queues, QueueState, State, Stats
from edge_occ.mqtt.outgoing import Outgoing
from edge_occ.mqtt.sender import SEND_SECONDS, Sender


class Publisher:
    """Publishes inspections; a context manager that owns its connection and its sender thread.

    Args:
        config: where to and how often.
        render: makes the JPEG of a heatmap, called in the sender thread.
        engine, bundle: told in the statistics.
        source_dropped: frames the source has dropped so far, told in the statistics.
        output_lost: what other outputs could not take so far, told in the statistics.

    Attributes:
        engine: as above, for where the engine is only known once the line is connected.

    Raises:
        InputError: on entering, where the broker cannot be reached or does not accept this client.
    """

    name = "MQTT"

    def __init__(
        self,
        config: MqttConfig,
        render: Callable[[Inspection], bytes],
        *,
        engine: str = "",
        bundle: str = "",
        source_dropped: Callable[[], int] = lambda: 0,
        output_lost: Callable[[], int] = lambda: 0,
    ) -> None:
        self._connect_timeout = config.connect_timeout
        self.engine, self._bundle, self._source_dropped = engine, bundle, source_dropped
        self._output_lost, self._inspected_at = output_lost, time.monotonic()
        self._ledger = Ledger()
        self._outgoing = Outgoing(self._ledger, config.score_hz, config.heatmap_hz)
        self._wake = threading.Event()
        self._connection = Connection(
            config,
            f"{config.prefix}/{config.device}".replace("/", ":"),
            status_topic=config.topics.status,
            on_activity=self._wake.set,
        )
        self._sender = Sender(self._connection, self._outgoing, self._ledger, config, render, self._stats, self._wake)
        self._thread = threading.Thread(target=self._sender.run, name="edge-occ-publisher", daemon=True)
        self._closed = False
        self._counted_at, self._counted_frames = time.monotonic(), 0

    def __enter__(self) -> Publisher:
        self._connection.connect(self._connect_timeout)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, inspection: Inspection) -> None:
        """Take one inspection; returns at once, whatever the broker does, and raises nothing."""
        self._ledger.taken()
        self._inspected_at = time.monotonic()
        self._outgoing.put(inspection, online=self._connection.session > 0)
        self._wake.set()

    def fault(self, fault: Fault) -> None:
        """Count a frame that was not inspected; the statistics tell."""
        self._ledger.fault(fault.reason.value)

    def finish(self, inspection: Inspection) -> None:
        """Take the end of the event under way; its frame was published already."""
        self._outgoing.put_event(inspection, online=self._connection.session > 0)
        self._wake.set()

    def announce(self, state: State, detail: str | None = None) -> None:
        """Tell on the status topic what the device is doing; it is told again after every reconnection."""
        self._connection.announce(state, detail)

    @property
    def summary(self) -> Summary:
        """What became of the inspections so far."""
        return self._ledger.summary()

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits, say ``offline``, disconnect; takes about ``timeout`` seconds at most.

        What was not sent by then is dropped and counted.  Without effect the second time.
        """
        if self._closed:
            return
        self._closed = True
        deadline = time.monotonic() + timeout
        self._sender.stop(deadline)
        if self._thread.ident is not None:
            self._thread.join(timeout + SEND_SECONDS)
        self._connection.close(max(deadline - time.monotonic(), SEND_SECONDS))

    def _stats(self) -> Stats:
        """The statistics since the last ones; called in the sender thread."""
        now, summary = time.monotonic(), self._ledger.summary()
        frames, elapsed = summary.frames - self._counted_frames, now - self._counted_at
        self._counted_at, self._counted_frames = now, summary.frames
        queues = {
            kind: QueueState(depth=depth, dropped=summary.dropped.get(kind, 0))
            for kind, depth in self._outgoing.depths.items()
        }
        return Stats(
            sent_at=datetime.now(timezone.utc),
            frames=summary.frames,
            fps=round(frames / elapsed, 2) if elapsed > 0 else 0.0,
            dropped=self._source_dropped(),
            faults=sum(summary.faults.values()),
            **{f"faults_{reason}": count for reason, count in summary.faults.items()},
            output_lost=self._output_lost(),
            silent_s=round(max(now - self._inspected_at, 0.0), 1),
            queues=Queues(**queues),
            latency_p50_ms=summary.latency_p50_ms,
            latency_p95_ms=summary.latency_p95_ms,
            engine=self.engine,
            bundle=self._bundle,
        )

"""The sink that speaks MQTT: what the frame path hands over is queued and nothing more; one thread does the rest.

Scores and heatmaps are news: without a connection they are dropped and counted, so that no stale line is replayed
afterwards.  Events are kept in memory, up to a bound, and sent after reconnection, marked historical; they do not
survive this process, but one that was begun is ended at the next start.  An event may arrive twice, never out of order.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from types import TracebackType

from edge_occ.inspection.lasting_fault import LastingFault
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.connection import Connection
from edge_occ.mqtt.events import EventQueue, QueuedEvent
from edge_occ.mqtt.ledger import Ledger, Summary
from edge_occ.mqtt.live import LiveQueue
from edge_occ.mqtt.live_sender import LiveSender
from edge_occ.mqtt.messages import Queues, QueueState, State, Stats, event_message, interrupted_end
from edge_occ.mqtt.sender import SEND_SECONDS, Sender
from edge_occ.mqtt.state import InspectorState
from edge_occ.mqtt.topics import EVENT, HEATMAP, SCORE
from edge_occ.sources.faults import Fault

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes inspections; a context manager that owns its connection and its sender thread.

    Args:
        config: where to and how often.
        render: makes the JPEG of a heatmap, called in the sender thread.
        engine, bundle: told in the statistics.
        source_dropped: frames the source has dropped so far, told in the statistics.
        output_lost: what other outputs could not take so far, told in the statistics.
        fault_after: seconds of faults only, or of silence (:meth:`expect_frames`), after which the status is ``fault``.

    Attributes:
        engine: as above, for where the engine is only known once the line is connected.

    Raises:
        InputError: on entering, where the broker cannot be reached or does not accept this client, or another inspector
            of this machine publishes on the same topics.
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
        fault_after: float = math.inf,
    ) -> None:
        self._connect_timeout = config.connect_timeout
        self.engine, self._bundle, self._source_dropped = engine, bundle, source_dropped
        self._output_lost, self._inspected_at = output_lost, time.monotonic()
        self._lasting, self._shown_fault = LastingFault(fault_after), ""
        self._state_lock = threading.Lock()
        self._ledger = Ledger()
        self._live = LiveQueue(self._ledger, config.score_hz, config.heatmap_hz)
        self._events = EventQueue(self._ledger)
        self._state = InspectorState(config)
        self._wake = threading.Event()
        # The topics make the client id: whoever shares them is thrown out by the broker, and both hear of it.
        self._connection = Connection(
            config,
            config.topics.base.replace("/", ":"),
            status_topic=config.topics.status,
            on_activity=self._wake.set,
        )
        self._live_sender = LiveSender(self._connection, self._live, self._ledger, config, render, self._stats)
        self._sender = Sender(
            self._connection,
            self._events,
            self._live_sender,
            self._ledger,
            self._state,
            config.topics.event,
            self._wake,
        )
        self._thread = threading.Thread(target=self._sender.run, name="edge-occ-publisher", daemon=True)
        self._stack = ExitStack()
        self._closed = False
        self._counted_at, self._counted_frames = time.monotonic(), 0

    def __enter__(self) -> Publisher:
        with ExitStack() as stack:
            stack.enter_context(self._state)
            self._connection.connect(self._connect_timeout)
            for event in self._state.open.values():
                self._events.put(QueuedEvent(interrupted_end(event), time.monotonic()))
            self._thread.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, inspection: Inspection) -> None:
        """Take one inspection; returns at once, whatever the broker does, and raises nothing."""
        self._ledger.taken()
        self._inspected_at = time.monotonic()
        self._lasting.good(self._inspected_at)
        self._show_fault(self._inspected_at)
        self._put_event(inspection)
        self._live.put(inspection)
        self._wake.set()

    def fault(self, fault: Fault) -> None:
        """Count a frame that was not inspected; the statistics tell, and the status if it goes on."""
        self._ledger.fault(fault.reason.value)
        now = time.monotonic()
        self._lasting.fault(fault, now)
        self._show_fault(now)

    def expect_frames(self) -> None:
        """The source gives frames without a pause from now on, so that silence is a fault."""
        self._lasting.expect_frames(time.monotonic())

    def finish(self, inspection: Inspection) -> None:
        """Take the end of the event under way; its frame was published already."""
        self._put_event(inspection)
        self._wake.set()

    def announce(self, state: State, detail: str | None = None) -> None:
        """Tell on the status topic what the device is doing; it is told again after every reconnection."""
        self._connection.announce(state, detail)

    @property
    def lost_events(self) -> int:
        """Event messages that did not reach the broker, or that it refused; final once closed."""
        summary = self._ledger.summary()
        return sum(counts.get(EVENT, 0) for counts in (summary.dropped, summary.refused, summary.failed))

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
        self._stack.close()

    def _show_fault(self, now: float) -> None:
        """Tell on the status topic of a fault that lasts, once for each reason, and of its end."""
        with self._state_lock:
            reason, detail = self._lasting.state(now) or ("", None)
            if reason != self._shown_fault:
                self._shown_fault = reason
                self.announce(State.FAULT if reason else State.ONLINE, detail)

    def _put_event(self, inspection: Inspection) -> None:
        if inspection.event is None:
            return
        try:
            message = event_message(inspection)
        except ValueError as error:  # no such number may end the frame path
            first = self._ledger.failed(EVENT) == 1
            _log.log(logging.ERROR if first else logging.DEBUG, "an event could not be made", exc_info=error)
        else:
            offline = self._connection.session == 0
            self._events.put(QueuedEvent(message, inspection.frame.captured_monotonic, offline))

    def _stats(self) -> Stats:
        """The statistics since the last ones; called in the sender thread."""
        now, summary = time.monotonic(), self._ledger.summary()
        # A source that is silent leaves the thread of the frames waiting, so this is found out here.
        self._show_fault(now)
        frames, elapsed = summary.frames - self._counted_frames, now - self._counted_at
        self._counted_at, self._counted_frames = now, summary.frames
        depths = {
            EVENT: self._events.depth,
            **{kind: depth + self._live_sender.on_the_way(kind) for kind, depth in self._live.depths.items()},
        }
        queues = {kind: QueueState(depth=depth, dropped=summary.dropped.get(kind, 0)) for kind, depth in depths.items()}
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
            queue_score_depth=depths[SCORE],
            queue_score_age_s=round(self._live.age(now), 3),
            queue_event_depth=depths[EVENT],
            queue_event_age_s=round(self._events.age(now), 3),
            queue_heatmap_depth=depths[HEATMAP],
            events_refused=summary.refused.get(EVENT, 0),
            latency_p50_ms=summary.latency_p50_ms,
            latency_p95_ms=summary.latency_p95_ms,
            engine=self.engine,
            bundle=self._bundle,
        )

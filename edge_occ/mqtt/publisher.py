"""The MQTT sink: the frame path only appends to queues; one thread sends.

Scores and heatmaps are live messages: without a connection they are dropped and counted, never sent late.  Events are
kept in the outbox and sent after reconnection, marked as historical; what is left at the end waits there for the next
run.  An event may arrive twice, never out of order.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import TracebackType

from edge_occ.inspection.evidence import Evidence, NoEvidence
from edge_occ.inspection.lasting_fault import LastingFault
from edge_occ.inspection.metrics import Latencies
from edge_occ.inspection.result import Inspection
from edge_occ.inspection.snapshot import Snapshot
from edge_occ.mqtt.client.connection import Connection
from edge_occ.mqtt.client.paho_client import Subscription, joined
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.home_assistant import discovery_births, follow_home_assistant
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.mqtt.publishing.delivery_stats import DeliveryCounts, DeliveryStats
from edge_occ.mqtt.publishing.event_store import QueuedEvent
from edge_occ.mqtt.publishing.live_sender import LiveSender
from edge_occ.mqtt.publishing.outbox import Outbox
from edge_occ.mqtt.publishing.send_queue import SendQueue
from edge_occ.mqtt.publishing.sender import SEND_SECONDS, Sender
from edge_occ.mqtt.publishing.stats_keys import of_faults, of_snapshot
from edge_occ.mqtt.stats_payload import Stats
from edge_occ.mqtt.topics import EVENT
from edge_occ.sources.faults import Fault

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes inspections; a context manager that owns its connection and its sender thread.

    Args:
        config: broker, topics and rates.
        render: makes the JPEG of a heatmap, called in the sender thread.
        engine, bundle: names for the stats.
        fault_after: seconds of faults only, or of silence (:meth:`expect_frames`), after which the status is ``fault``.
        subscription: of commands; ``None`` subscribes to nothing.
        latencies: where the times of scores are recorded.

    Attributes:
        muted: whether event messages are marked as muted; set in the thread that inspects, between two events.
        engine, bundle: as above; may be set later, when an engine is loaded.
        evidence: names the evidence of events for their messages; set before the first frame, by default none.
        snapshot: returns the figures of others for the stats, such as the frames dropped by the source, the state of
            the machine and drift; by default, only the latencies that it measures itself.

    Raises:
        InputError: on entering, where the broker answers and does not accept this client, its certificate cannot be
            verified, or another inspector of this machine publishes on the same topics.  A broker out of reach is no
            error: events wait until it answers.
    """

    name = "MQTT"

    def __init__(
        self,
        config: MqttConfig,
        render: Callable[[Inspection], bytes],
        *,
        engine: str = "",
        bundle: str = "",
        fault_after: float = math.inf,
        subscription: Subscription | None = None,
        latencies: Latencies | None = None,
    ) -> None:
        self.muted = False
        self._connect_timeout, self._origin = config.connect_timeout, config.topics.origin
        self.engine, self.bundle = engine, bundle
        self.evidence: Evidence = NoEvidence()
        self._inspected_at = time.monotonic()
        own = latencies or Latencies()
        self.snapshot: Callable[[], Snapshot] = lambda: Snapshot(latencies=own.read())
        self._lasting, self._shown_fault = LastingFault(fault_after), ""
        self._state_lock = threading.Lock()
        self._delivery = DeliveryStats()
        self._live = SendQueue(self._delivery, config.score_hz, config.heatmap_hz)
        self._outbox = Outbox(config, partial(self._delivery.dropped, EVENT))
        self._wake = threading.Event()
        self._connection = Connection(
            config,
            config.inspector_id,
            status_topic=config.topics.status,
            subscription=joined(subscription, follow_home_assistant(config, self._describe)),
            births=discovery_births(config),
            on_activity=self._wake.set,
        )
        self._live_sender = LiveSender(self._connection, self._live, self._delivery, config, render, self._stats, own)
        self._sender = Sender(self._connection, self._outbox, self._live_sender, self._delivery, config, self._wake)
        self._thread = threading.Thread(target=self._sender.run, name="edge-occ-publisher", daemon=True)
        self._stack = ExitStack()
        self._closed = False
        self._counted_at, self._counted_frames = time.monotonic(), 0

    def __enter__(self) -> Publisher:
        with ExitStack() as stack:
            stack.enter_context(self._outbox)
            self._connection.connect(self._connect_timeout, required=False)
            self._thread.start()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def publish(self, inspection: Inspection) -> None:
        """Queue one inspection; never blocks and raises nothing."""
        self._delivery.frame()
        self._inspected_at = time.monotonic()
        self._lasting.good(self._inspected_at)
        self._show_fault(self._inspected_at)
        self._put_event(inspection)
        self._live.put(inspection)
        self._wake.set()

    def fault(self, fault: Fault) -> None:
        """Count a frame that was not inspected, for the stats; lasting faults change the status."""
        self._delivery.fault(fault.reason.value)
        now = time.monotonic()
        self._lasting.fault(fault, now)
        self._show_fault(now)

    def expect_frames(self) -> None:
        """Count silence as a fault from now on, because the source gives frames without a pause."""
        self._lasting.expect_frames(time.monotonic())

    def finish(self, inspection: Inspection) -> None:
        """Queue the end of the open event; its frame was published already."""
        self._put_event(inspection)
        self._wake.set()

    def announce(self, state: DeviceState, detail: str | None = None) -> None:
        """Publish the state of the device on the status topic, now and after every reconnection."""
        self._connection.announce(state, detail)

    @property
    def connection(self) -> Connection:
        """Its connection, for the answers to commands."""
        return self._connection

    @property
    def lost_events(self) -> int:
        """Event messages that were dropped, or that the broker refused; final once closed."""
        counts = self._delivery.counts()
        return sum(kinds.get(EVENT, 0) for kinds in (counts.dropped, counts.refused, counts.failed))

    @property
    def kept_events(self) -> tuple[int, Path | None]:
        """Event messages that wait for the next run, and the file in which they do; final once closed."""
        return self._outbox.kept, self._outbox.path

    @property
    def summary(self) -> DeliveryCounts:
        """Counts of messages so far."""
        return self._delivery.counts()

    @property
    def waiting(self) -> dict[str, int]:
        """Messages waiting or not confirmed, by kind."""
        live = {kind: depth + self._live_sender.in_flight(kind) for kind, depth in self._live.depths.items()}
        return {EVENT: self._outbox.depth, **live}

    def with_messages(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with the messages that wait, were dropped or refused; from any thread."""
        counts, size = self._delivery.counts(), self._outbox.size
        return replace(snapshot, waiting=self.waiting, lost=counts.dropped, refused=counts.refused, outbox_bytes=size)

    def close(self, timeout: float = 5.0) -> None:
        """Send what waits, publish ``offline``, disconnect; takes about ``timeout`` seconds at most.

        Events that were not sent by then stay in the outbox; anything else is dropped and counted.  Without effect the
        second time.
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

    def _describe(self) -> None:
        self._connection.publish_births()

    def _show_fault(self, now: float) -> None:
        """Publish a lasting fault as the status, once for each reason, and its end."""
        with self._state_lock:
            reason, detail = self._lasting.state(now) or ("", None)
            if reason != self._shown_fault:
                self._shown_fault = reason
                self.announce(DeviceState.FAULT if reason else DeviceState.ONLINE, detail)

    def _put_event(self, inspection: Inspection) -> None:
        if inspection.event is None:
            return
        try:
            historical = self._connection.session == 0
            paths = self.evidence.paths(inspection)
            message = event_message(inspection, self._origin, paths, historical=historical, muted=self.muted)
        except ValueError as error:  # a score that is not finite must not end the frame path
            first = self._delivery.failed(EVENT) == 1
            _log.log(logging.ERROR if first else logging.DEBUG, "an event could not be made", exc_info=error)
        else:
            self._outbox.put(QueuedEvent.of(message, inspection.frame.captured_monotonic))

    def _stats(self) -> Stats:
        """Return the stats since the previous ones; called in the sender thread."""
        now, counts = time.monotonic(), self._delivery.counts()
        # A silent source blocks the thread of the frames, so silence is checked here.
        self._show_fault(now)
        frames, elapsed = counts.frames - self._counted_frames, now - self._counted_at
        self._counted_at, self._counted_frames = now, counts.frames
        snapshot = self.with_messages(self.snapshot())
        return Stats(
            **self._origin._asdict(),
            sent_at=datetime.now(timezone.utc),
            frames=counts.frames,
            fps=round(frames / elapsed, 2) if elapsed > 0 else 0.0,
            **of_faults(counts.faults),
            silent_s=round(max(now - self._inspected_at, 0.0), 1),
            queue_score_age_s=round(self._live.age(now), 3),
            queue_event_age_s=round(self._outbox.age(now), 3),
            outbox_failed=self._outbox.failed,
            **of_snapshot(snapshot),
            engine=self.engine,
            bundle=self.bundle,
        )

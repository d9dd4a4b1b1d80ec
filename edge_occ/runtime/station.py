"""The application behind ``edge-occ run``: bundle, source, engine, inspection and outputs, composed for one run."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.bundle.manifest import Calibration
from edge_occ.common.errors import EventsLost
from edge_occ.common.progress import PhaseReport
from edge_occ.common.signals import interruptible
from edge_occ.common.streams import lost_errors
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.guards import Guards
from edge_occ.inspection.likeness import Likeness
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.topics import EVENT
from edge_occ.output.console import ConsoleSink
from edge_occ.output.heatmap import encode_jpeg, overlay
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.output.outlets import Outlets
from edge_occ.runtime.config import EngineConfig, RunConfig
from edge_occ.runtime.heartbeat import heartbeat_from_environment
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.summary import RunSummary
from edge_occ.sources.frame import Source
from edge_occ.sources.uri import is_steady, open_source

_THIS_MACHINE = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Station:
    """One inspector: one bundle on one source.

    Attributes:
        config: settings of all parts.
        bundle: file of the bundle.
        source: address of the source; see :mod:`edge_occ.sources.uri`.
        sha256: digest that the bundle must have; see :func:`edge_occ.bundle.bundle.read_bundle`.
        publish: publish over MQTT.
        start_broker: start a broker for the run if the one of the settings is on this machine and does not answer.
        json: print JSON on standard output instead of lines for people on standard error.
        max_frames: frames to score, at least 1; ``None`` for no limit.
    """

    config: RunConfig
    bundle: Path
    source: str
    sha256: str | None = None
    publish: bool = True
    start_broker: bool = False
    json: bool = False
    max_frames: int | None = None

    def run(self, notify: Callable[[str], None]) -> RunSummary:
        """Inspect until the source ends, ``max_frames`` are scored, or a signal asks for the end.

        Args:
            notify: called with each line for people, the lines of the summary among them.

        Raises:
            BundleRefused, EngineUnavailable, SourceLost, InputError: from the parts; also an :class:`InputError` at the
                end if standard output could not be written.
            EventsLost: event messages were dropped, or refused by the broker.
            KeyboardInterrupt: a signal ended the run; everything is flushed.
        """
        bundle = read_bundle(self.bundle, self.sha256)
        outlets = Outlets()
        publisher: Publisher | None = None
        with ExitStack() as stack:
            heartbeat = stack.enter_context(heartbeat_from_environment())
            source = open_source(
                self.source,
                self.config.source.patience(),
                triggered=self.config.source.triggered,
                white=bundle.manifest.training.white_level,
                # A line that stands still is not a hanging process.
                on_wait=heartbeat.beat,
            )
            screen = self._screen(source)
            for sink in (screen, heartbeat, Likeness(bundle.manifest, notify)):
                outlets.add(sink)
            # MQTT comes before the engine, so that subscribers see the building of an engine, which takes minutes.
            if self.publish:
                calibration = bundle.manifest.calibration
                publisher = stack.enter_context(self._publisher(calibration, source, outlets, notify))
                outlets.add(publisher)
            loaded = _open_engine(bundle, self.config.engine, publisher, notify)
            stack.callback(loaded.engine.close)
            notify(loaded.summary)
            notify(guarantee(bundle.manifest.calibration))
            threshold = bundle.conformal_threshold()
            training = bundle.manifest.training
            guards = Guards(self.config.guards, training.exposure, training.colour)
            # The engine holds what it needs of the bundle, which may be larger than all frames in flight.  Tracebacks
            # of engines that failed to load still refer to the bundle, in cycles.
            del bundle, training
            gc.collect()
            # The source starts last, because its first frames would wait for everything else.
            stack.enter_context(source)
            if publisher is not None and is_steady(self.source, triggered=self.config.source.triggered):
                publisher.expect_frames()
            event = self.config.event
            tracker = EventTracker(event.k, event.n, event.release)
            inspector = Inspector(loaded.engine, threshold, tracker, outlets, guards)
            interrupted = stack.enter_context(interruptible(source.close))
            try:
                inspector.run(source, self.max_frames)
            finally:
                summary = _with_lost_lines(inspector.summary(source.dropped))
                for line in summary.lines():
                    notify(line)
        if publisher is not None:
            _report_kept(publisher, notify)
            _require_delivery(publisher)
        if interrupted.is_set():
            raise KeyboardInterrupt
        if isinstance(screen, JsonLinesSink) and screen.failure is not None:
            raise screen.failure
        return summary

    def _screen(self, source: Source) -> ConsoleSink | JsonLinesSink:
        # Without MQTT, the reader of the stream is the only receiver, and the run ends when it goes.
        on_gone = None if self.publish else source.close
        return JsonLinesSink(on_gone, live=source.live) if self.json else ConsoleSink(on_gone)

    @contextmanager
    def _publisher(
        self, calibration: Calibration, source: Source, outlets: Outlets, notify: Callable[[str], None]
    ) -> Iterator[Publisher]:
        with _reachable_broker(self.config.mqtt, notify, start=self.start_broker) as mqtt:
            publisher = Publisher(
                mqtt,
                partial(_render, calibration, mqtt.heatmap_side),
                bundle=self.bundle.name,
                source_dropped=lambda: source.dropped,
                output_lost=lambda: lost_errors() + sum(outlets.lost.values()),
                fault_after=self.config.guards.fault_after,
            )
            with publisher:
                yield publisher


@contextmanager
def _reachable_broker(mqtt: MqttConfig, notify: Callable[[str], None], *, start: bool) -> Iterator[MqttConfig]:
    """Yield settings of a broker, which is an embedded one for as long as the block lasts if there is no other.

    ``start`` must be false where the user has named a broker: an embedded one on its port would keep it from returning.
    """
    local = parse_broker(mqtt.broker)
    if not start or local.host not in _THIS_MACHINE or broker_answers(local.host, local.port, 1.0):
        yield mqtt
        return
    with EmbeddedBroker(local.port):
        notify(f"no broker on {local}; started one for this run (try: edge-occ watch)")
        yield mqtt.model_copy(update={"protocol": EmbeddedBroker.PROTOCOL})


def _open_engine(
    bundle: Bundle, engine: EngineConfig, publisher: Publisher | None, notify: Callable[[str], None]
) -> LoadedEngine:
    """Load the engine; the status topic says so while one is being built."""

    def announce_building(phase: str) -> None:
        if publisher is not None:
            publisher.announce(DeviceState.BUILDING, phase)

    with PhaseReport(announce_building) as progress:
        loaded = load_engine(bundle, engine.name, engine.precision, engine.options(), notify=notify, progress=progress)
    if publisher is not None:
        publisher.engine = f"{loaded.engine.name} {loaded.engine.precision}"
        if progress.shown:
            publisher.announce(DeviceState.ONLINE)
    return loaded


def _render(calibration: Calibration, longest_side: int, inspection: Inspection) -> bytes:
    frame, scores = inspection.frame.image, inspection.scores.map
    return encode_jpeg(overlay(frame, scores, calibration.median, calibration.threshold, longest_side))


def _with_lost_lines(summary: RunSummary) -> RunSummary:
    """Count the lines that standard error did not take, which raise no error there."""
    lost = lost_errors()
    return replace(summary, lost={**summary.lost, ConsoleSink.name: lost}) if lost else summary


def _report_kept(publisher: Publisher, notify: Callable[[str], None]) -> None:
    count, file = publisher.kept_events
    if count:
        notify(f"{count} event message{'s wait' if count > 1 else ' waits'} in {file} for the next run")


def _require_delivery(publisher: Publisher) -> None:
    sent = publisher.summary
    lost = {"dropped": sent.dropped, "refused": sent.refused, "failed": sent.failed}
    counts = {name: kinds.get(EVENT, 0) for name, kinds in lost.items()}
    if any(counts.values()):
        raise EventsLost(counts)

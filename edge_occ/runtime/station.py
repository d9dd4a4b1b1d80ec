"""The application behind ``edge-occ run``: bundle, sources, engine, inspection and outputs, composed for one run."""

from __future__ import annotations

import gc
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.bundle.operating_points import Decision, decide
from edge_occ.common.errors import EventsLost
from edge_occ.common.progress import PhaseReport
from edge_occ.common.signals import interruptible
from edge_occ.common.streams import lost_errors
from edge_occ.inspection.drift import DriftMonitor
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.guards import Guards
from edge_occ.inspection.likeness import Likeness
from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from edge_occ.mqtt.payloads import DeviceState
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.topics import EVENT
from edge_occ.output.console import ConsoleSink
from edge_occ.output.evidence.store import EvidenceStore
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.output.outlets import Outlets
from edge_occ.output.renderer import Renderer
from edge_occ.runtime.config import EngineConfig, RunConfig
from edge_occ.runtime.heartbeat import Heartbeat, heartbeat_from_environment
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.scheduler import Lane, Scheduler
from edge_occ.runtime.summary import RunSummary
from edge_occ.sources.frame import Source
from edge_occ.sources.opening import is_steady, open_source
from engines.base import Engine

_THIS_MACHINE = ("127.0.0.1", "localhost")


@dataclass(frozen=True)
class Station:
    """One inspector: one bundle on one camera or several.

    Attributes:
        config: settings of all parts.
        bundle: file of the bundle.
        sources: address of each camera's source by the camera's name, which is empty where there is only one; see
            :mod:`edge_occ.sources.uri`.
        sha256: digest that the bundle must have; see :func:`edge_occ.bundle.bundle.read_bundle`.
        publish: publish over MQTT.
        start_broker: start a broker for the run if the one of the settings is on this machine and does not answer.
        json: print JSON on standard output instead of lines for people on standard error.
        max_frames: frames to score in all, at least 1; ``None`` for no limit.
    """

    config: RunConfig
    bundle: Path
    sources: Mapping[str, str]
    sha256: str | None = None
    publish: bool = True
    start_broker: bool = False
    json: bool = False
    max_frames: int | None = None

    def run(self, notify: Callable[[str], None]) -> Mapping[str, RunSummary]:
        """Inspect until the sources end, ``max_frames`` are scored, or a signal asks for the end.

        Args:
            notify: called with each line for people, the lines of the summaries among them.

        Returns:
            The figures by camera.

        Raises:
            BundleRefused, EngineUnavailable, SourceLost, InputError: from the parts; also an :class:`InputError` at the
                end if standard output could not be written.
            EventsLost: the broker does not have every event message.
            KeyboardInterrupt: a signal ended the run; everything is flushed.
        """
        bundle = read_bundle(self.bundle, self.sha256)
        decision = decide(bundle, self.config.decision)
        with ExitStack() as stack:
            heartbeat = stack.enter_context(heartbeat_from_environment())
            mqtt = None
            # MQTT comes before the engine, so that subscribers see the building of an engine, which takes minutes.
            if self.publish:
                mqtt = stack.enter_context(_reachable_broker(self.config.mqtt, notify, start=self.start_broker))
            cameras = [self._open(name, bundle, decision, heartbeat, mqtt, stack, notify) for name in self.sources]
            publishers = [camera.publisher for camera in cameras if camera.publisher is not None]
            loaded = _open_engine(bundle, self.config.engine, publishers, notify)
            stack.callback(loaded.engine.close)
            notify(loaded.summary)
            notify(decision.guarantee())
            lanes = [self._lane(camera, bundle, decision, loaded.engine) for camera in cameras]
            # The engine holds what it needs of the bundle, which may be larger than all frames in flight.  Tracebacks
            # of engines that failed to load still refer to the bundle, in cycles.
            del bundle
            gc.collect()
            scheduler = Scheduler(lanes)
            # The sources start last, because their first frames would wait for everything else.
            for camera in cameras:
                stack.enter_context(camera.source)
                if camera.publisher is not None and camera.is_steady:
                    camera.publisher.expect_frames()
            interrupted = stack.enter_context(interruptible(lambda: _close_all(cameras)))
            try:
                scheduler.run(self.max_frames)
            finally:
                summaries = _summaries(lanes)
                for name, summary in summaries.items():
                    for line in summary.lines():
                        notify(_of_camera(name, line))
        _require_delivery(publishers)
        if interrupted.is_set():
            raise KeyboardInterrupt
        for camera in cameras:
            if isinstance(camera.screen, JsonLinesSink) and camera.screen.failure is not None:
                raise camera.screen.failure
        return summaries

    def _open(
        self,
        name: str,
        bundle: Bundle,
        decision: Decision,
        heartbeat: Heartbeat,
        mqtt: MqttConfig | None,
        stack: ExitStack,
        notify: Callable[[str], None],
    ) -> _Camera:
        """Open what belongs to one camera; its source is not entered."""
        settings = self.config.source
        # The loss of the only camera ends the run, so that a supervisor can start it again.  One of several is waited
        # for as long as it takes.
        patience = settings.patience() if len(self.sources) == 1 else replace(settings.patience(), lost=math.inf)
        source = open_source(
            self.sources[name],
            patience,
            triggered=settings.triggered,
            white=bundle.manifest.training.white_level,
            # A line that stands still is not a hanging process.
            on_wait=heartbeat.beat,
        )
        screen = self._screen(name, source)
        said = partial(_say_of_camera, name, notify)
        drift = DriftMonitor(decision.threshold, decision.reject, self.config.drift, said)
        outlets = Outlets([screen, heartbeat, Likeness(bundle.manifest, said), drift])
        names = mqtt or self.config.mqtt
        config = names.model_copy(update={"camera": name}) if name else names
        render = Renderer(decision.reject.median, decision.reject.threshold, config.heatmap_side)
        publisher = None
        if mqtt is not None:
            publisher = Publisher(
                config,
                render,
                bundle=self.bundle.name,
                source_dropped=lambda: source.dropped,
                output_lost=lambda: lost_errors() + sum(outlets.lost.values()),
                fault_after=self.config.guards.fault_after,
            )
            publisher.drift = lambda: drift.state
            outlets.add(stack.enter_context(publisher))
        # Evidence comes after MQTT, so that the last statistics count what its end could not write.
        evidence = self.config.evidence
        if evidence.folder is not None:
            kept = EvidenceStore(evidence.folder, evidence, config.topics.origin, render, bundle=self.bundle.name)
            outlets.add(stack.enter_context(kept))
            if publisher is not None:
                publisher.evidence = kept
        is_live = is_steady(self.sources[name], triggered=settings.triggered)
        return _Camera(name, source, outlets, screen, publisher, is_live)

    def _screen(self, name: str, source: Source) -> ConsoleSink | JsonLinesSink:
        # Without MQTT, the reader of the stream is the only receiver, and the run ends when it goes.
        on_gone = None if self.publish else source.close
        return JsonLinesSink(on_gone, name, live=source.live) if self.json else ConsoleSink(on_gone, name)

    def _lane(self, camera: _Camera, bundle: Bundle, decision: Decision, engine: Engine) -> Lane:
        training, event = bundle.manifest.training, self.config.event
        guards = Guards(self.config.guards, training.exposure, training.colour)
        tracker = EventTracker(event.k, event.n, event.release, event.part_gap)
        inspector = Inspector(engine, decision.threshold, tracker, camera.outlets, guards)
        return Lane(camera.name, camera.source, inspector)


@dataclass(frozen=True)
class _Camera:
    """What belongs to one camera before the engine is there."""

    name: str
    source: Source
    outlets: Outlets
    screen: ConsoleSink | JsonLinesSink
    publisher: Publisher | None
    is_steady: bool


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
    bundle: Bundle, engine: EngineConfig, publishers: Sequence[Publisher], notify: Callable[[str], None]
) -> LoadedEngine:
    """Load the engine; the status topic says so while one is being built."""

    def announce_building(phase: str) -> None:
        for publisher in publishers:
            publisher.announce(DeviceState.BUILDING, phase)

    with PhaseReport(announce_building) as progress:
        loaded = load_engine(bundle, engine.name, engine.precision, engine.options(), notify=notify, progress=progress)
    for publisher in publishers:
        publisher.engine = f"{loaded.engine.name} {loaded.engine.precision}"
        if progress.shown:
            publisher.announce(DeviceState.ONLINE)
    return loaded


def _summaries(lanes: Sequence[Lane]) -> dict[str, RunSummary]:
    """Return the figures by camera; the first one has the lines that standard error did not take."""
    found = {lane.camera: lane.inspector.summary(lane.source.dropped) for lane in lanes}
    if lost := lost_errors():
        first = next(iter(found))
        found[first] = replace(found[first], lost={**found[first].lost, ConsoleSink.name: lost})
    return found


def _close_all(cameras: Sequence[_Camera]) -> None:
    for camera in cameras:
        camera.source.close()


def _of_camera(name: str, line: str) -> str:
    return f"{name}: {line}" if name else line


def _say_of_camera(name: str, notify: Callable[[str], None], line: str) -> None:
    notify(_of_camera(name, line))


def _require_delivery(publishers: Sequence[Publisher]) -> None:
    counts: Counter[str] = Counter(dropped=0, refused=0, failed=0)
    for publisher in publishers:
        sent = publisher.summary
        for name, kinds in (("dropped", sent.dropped), ("refused", sent.refused), ("failed", sent.failed)):
            counts[name] += kinds.get(EVENT, 0)
    if any(counts.values()):
        raise EventsLost(dict(counts))

"""The application behind ``edge-occ run``: bundle, sources, engine, inspection and outputs, composed for one run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edge_occ.bundle.bundle import Bundle
from edge_occ.common.errors import EventsLost
from edge_occ.common.images import counted
from edge_occ.common.signals import interruptible, reloadable
from edge_occ.common.streams import lost_errors
from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.commands.service import CommandService
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.topics import EVENT
from edge_occ.output.console import ConsoleSink
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.runtime.camera import Camera
from edge_occ.runtime.commanding import StationActions, serve_commands
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.control import Control
from edge_occ.runtime.heartbeat import heartbeat_from_environment
from edge_occ.runtime.memory import share_heaps
from edge_occ.runtime.metrics import metrics_outputs
from edge_occ.runtime.model import Model, open_engine, read_model
from edge_occ.runtime.plan import CameraPlan
from edge_occ.runtime.recalibrating import Recalibrator
from edge_occ.runtime.reload import Reloader, ReloadRequests
from edge_occ.runtime.scheduler import Lane, Scheduler
from edge_occ.runtime.summary import RunSummary

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
        reread: returns the settings anew, for a reload; ``None`` keeps them.
    """

    config: RunConfig
    bundle: Path
    sources: Mapping[str, str]
    sha256: str | None = None
    publish: bool = True
    start_broker: bool = False
    json: bool = False
    max_frames: int | None = None
    reread: Callable[[], RunConfig] | None = None

    def run(self, notify: Callable[[str], None]) -> Mapping[str, RunSummary]:
        """Inspect until the sources end, ``max_frames`` are scored, or a signal asks for the end.

        Args:
            notify: called with each line for people, the lines of the summaries among them.

        Returns:
            The figures by camera.

        Raises:
            BundleRefused, EngineUnavailable, SourceLost, InputError: from the parts; also an :class:`InputError` at the
                end if standard output could not be written.
            EventsLost: event messages were dropped, or refused by the broker.
            KeyboardInterrupt: a signal ended the run; everything is flushed.
        """
        share_heaps()
        with ExitStack() as stack:
            # First of all: a request for a reload while the run begins or ends must not end it.
            requests = ReloadRequests()
            stack.enter_context(reloadable(requests.put))
            config, model, bundle = self._read(self.config)
            heartbeat = stack.enter_context(heartbeat_from_environment())
            mqtt = None
            # MQTT comes before the engine, so that subscribers see the building of an engine, which takes minutes.
            if self.publish:
                mqtt = stack.enter_context(_reachable_broker(self.config.mqtt, notify, start=self.start_broker))
            commands = CommandService(self.config.mqtt.commands)
            plan = CameraPlan(self.config, mqtt, self.json, len(self.sources) == 1, heartbeat, notify, commands)
            cameras = [Camera(name, address, plan, model, stack) for name, address in self.sources.items()]
            interrupted = threading.Event()
            stack.callback(lambda: _end_outputs(cameras, hurry=interrupted.is_set()))
            stack.enter_context(metrics_outputs(self.config.metrics, cameras, notify))
            loaded = open_engine(bundle, self.config.engine, cameras, notify)
            del bundle
            lanes = [camera.lane(model, loaded) for camera in cameras]
            control = Control()
            engine, rate = (loaded.engine.name, loaded.engine.precision), model.manifest.calibration.false_alarm_rate
            recalibrator = Recalibrator(self.bundle, lambda: reloader.config, rate, engine, requests.ask)
            stack.callback(recalibrator.give_up)
            # After the reloader, which cancels what the commands wait for; before the connections.
            stack.callback(commands.close)
            reloader = Reloader(requests, self._reread, config, model, loaded, cameras, control, heartbeat, notify)
            stack.callback(reloader.close)
            actions = StationActions(control, requests.ask, recalibrator, self.bundle, self.sha256)
            serve_commands(cameras, commands, actions)
            notify(loaded.summary)
            notify(model.decision.guarantee())
            scheduler = Scheduler(lanes, control, heartbeat.inspecting)
            # The sources start last, because their first frames would wait for everything else.
            for camera in cameras:
                stack.enter_context(camera.source)
                camera.expect_frames()
            interrupted = stack.enter_context(interruptible(lambda: _close_all(cameras)))
            try:
                scheduler.run(self.max_frames)
            finally:
                summaries = _summaries(lanes)
                for camera in cameras:
                    for line in summaries[camera.name].lines():
                        camera.notify(line)
        publishers = [camera.publisher for camera in cameras if camera.publisher is not None]
        _report_kept(publishers, notify)
        _require_delivery(publishers)
        if interrupted.is_set():
            raise KeyboardInterrupt
        for camera in cameras:
            if isinstance(camera.screen, JsonLinesSink) and camera.screen.failure is not None:
                raise camera.screen.failure
        return summaries

    def _read(self, config: RunConfig) -> tuple[RunConfig, Model, Bundle]:
        return config, *read_model(self.bundle, self.sha256, config.decision)

    def _reread(self) -> tuple[RunConfig, Model, Bundle]:
        return self._read(self.config if self.reread is None else self.reread())


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


def _summaries(lanes: Sequence[Lane]) -> dict[str, RunSummary]:
    """Return the figures by camera; the first one has the lines that standard error did not take."""
    found = {lane.camera: lane.inspector.summary(lane.source.dropped) for lane in lanes}
    if lost := lost_errors():
        first = next(iter(found))
        found[first] = replace(found[first], lost={**found[first].lost, ConsoleSink.name: lost})
    return found


def _end_outputs(cameras: Sequence[Camera], *, hurry: bool) -> None:
    """End the outputs of all cameras at the same time: each may have to wait for a broker or a disk."""
    with ThreadPoolExecutor(len(cameras), "edge-occ end") as threads:
        for _ in threads.map(lambda camera: camera.close(hurry=hurry), cameras):
            pass


def _close_all(cameras: Sequence[Camera]) -> None:
    for camera in cameras:
        camera.source.close()


def _report_kept(publishers: Sequence[Publisher], notify: Callable[[str], None]) -> None:
    for count, file in (publisher.kept_events for publisher in publishers):
        if count:
            notify(f"{counted(count, 'event message')} kept in {file} for the next run")


def _require_delivery(publishers: Sequence[Publisher]) -> None:
    counts: Counter[str] = Counter(dropped=0, refused=0, failed=0)
    for publisher in publishers:
        sent = publisher.summary
        for name, kinds in (("dropped", sent.dropped), ("refused", sent.refused), ("failed", sent.failed)):
            counts[name] += kinds.get(EVENT, 0)
    if any(counts.values()):
        raise EventsLost(dict(counts))

"""Everything that belongs to one camera of a station: its source, its inspection and its outputs."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace

from edge_occ.bundle.loading import LoadedEngine
from edge_occ.bundle.operating_points import Decision
from edge_occ.common.streams import lost_errors
from edge_occ.inspection.drift import DriftMonitor
from edge_occ.inspection.evidence import Evidence, NoEvidence
from edge_occ.inspection.likeness import Likeness
from edge_occ.inspection.metrics import Latencies
from edge_occ.inspection.snapshot import Snapshot
from edge_occ.inspection.trigger import CommandTrigger
from edge_occ.inspection.view import View
from edge_occ.mqtt.commands.service import CommandChannel
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.publisher import Publisher
from edge_occ.output.console import ConsoleSink
from edge_occ.output.evidence.store import EvidenceStore
from edge_occ.output.jsonl import JsonLinesSink
from edge_occ.output.latest import LatestFrame
from edge_occ.output.outlets import Outlets
from edge_occ.output.renderer import Renderer
from edge_occ.output.sink import Sink
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.model import Model
from edge_occ.runtime.plan import CameraPlan
from edge_occ.runtime.scheduler import Lane
from edge_occ.runtime.thermals import read_machine
from edge_occ.sources.frame import Source
from edge_occ.sources.opening import is_steady, open_source

_CLOSE_SECONDS, _HURRY_SECONDS = 5.0, 1.5
"""Time of each output to end.  The second leaves three seconds for two outputs, and one for the broker's answer to the
goodbye: five in all are what a signal is given."""


class Camera:
    """One camera.

    Args:
        name: of the camera; empty where there is only one.
        address: of its source, see :mod:`edge_occ.sources.uri`.
        plan: what it shares with the others.
        model: of the bundle.
        stack: closes its outputs.  Its source is not entered.

    Attributes:
        source: its frames.
        screen: what prints its results.
        publisher: its connection to the broker; ``None`` without MQTT.
        channel: its commands; ``None`` where none is enabled.
        decision: its thresholds.
        latest: keeps the latest frame for snapshots; ``None`` where they are not enabled.
        origin: device and camera, as in the topics.
        view: the part of its frames that is inspected.

    Raises:
        InputError: the source, the mask, the broker's answer or the evidence folder is wrong.
    """

    def __init__(self, name: str, address: str, plan: CameraPlan, model: Model, stack: ExitStack) -> None:
        config, settings = plan.config, plan.config.source
        self.name, self._plan, self._config = name, plan, config
        self.view = config.view_of(name)
        # The loss of the only camera ends the run, so that a supervisor can start it again.  One of several is waited
        # for as long as it takes.
        patience = settings.patience() if plan.alone else replace(settings.patience(), lost=math.inf)
        self.source: Source = open_source(
            address,
            patience,
            triggered=settings.triggered,
            white=model.manifest.training.white_level,
            # A line that stands still is not a hanging process.
            on_wait=plan.heartbeat.waiting,
        )
        self._is_steady = is_steady(address, triggered=settings.triggered or config.trigger.mode != "free")
        # Without MQTT, the reader of the stream is the only receiver, and the run ends when it goes.
        on_gone = self.source.close if plan.mqtt is None else None
        live = self.source.live
        self.screen = JsonLinesSink(on_gone, name, live=live) if plan.json else ConsoleSink(on_gone, name)
        self._likeness = Likeness(model.manifest, self.notify)
        reject = model.decision.reject
        self._drift = DriftMonitor(model.decision.threshold, reject, config.drift, self.notify)
        self._outlets = Outlets([self.screen, plan.heartbeat, self._likeness, self._drift])
        names = plan.mqtt or config.mqtt
        mqtt = names.of_camera(name, alone=plan.alone) if name else names
        self.channel: CommandChannel | None = None
        self.decision = model.decision
        self.latest = LatestFrame() if plan.mqtt is not None and "snapshot" in names.commands else None
        if self.latest is not None:
            self._outlets.add(self.latest)
        self._trigger = config.trigger.make()
        self.origin, self._latencies = mqtt.topics.origin, Latencies()
        self._inspector: Inspector | None = None
        self._render = Renderer(reject.median, reject.threshold, mqtt.heatmap_side, self._latencies)
        # The publisher asks for figures as soon as it is entered.
        self._evidence: Evidence = NoEvidence()
        self._store: EvidenceStore | None = None
        self.publisher = None if plan.mqtt is None else self._publish(mqtt, model, stack)
        self._keep_evidence(mqtt, model, stack)

    def lane(self, model: Model, loaded: LoadedEngine) -> Lane:
        """Return the way of its frames through an engine."""
        self._show_engine(loaded)
        self._inspector = Inspector(
            loaded.engine,
            model.decision.threshold,
            self._config.event.make(),
            self._outlets,
            model.guards(self._config.guards),
            view=self.view,
            trigger=self._trigger,
            on_skip=self._plan.heartbeat.beat,
            latencies=self._latencies,
        )
        return Lane(self.name, self.source, self._inspector)

    def view_of(self, config: RunConfig) -> View:
        """Read what settings say of the part of its frames that is inspected; from any thread.

        Raises:
            InputError: the mask is wrong, or does not fit the frames that came so far.
        """
        view, size = config.view_of(self.name), None if self._inspector is None else self._inspector.size
        if view.mask is not None and size is not None:
            view.mask.require_fit(size)
        return view

    def use(self, config: RunConfig, view: View, model: Model, loaded: LoadedEngine) -> None:
        """Go on with other settings, thresholds and another engine; in the thread that inspects, between two frames.

        The open event goes on unless its settings or the view have changed; drift is measured anew.
        """
        same = config.event == self._config.event and view == self.view
        self._config, self.view = config, view
        if self._inspector is not None:
            guards, tracker = model.guards(config.guards), None if same else config.event.make()
            self._inspector.use(loaded.engine, model.decision.threshold, guards, view, tracker)
        self.decide(model.decision)
        self._likeness.compare_with(model.manifest)
        self._show_engine(loaded)
        if self.publisher is not None:
            self.publisher.bundle = model.name

    def decide(self, decision: Decision) -> None:
        """Go on with other thresholds, in the thread that inspects; drift is measured anew."""
        self.decision = decision
        if self._inspector is not None:
            self._inspector.decide(decision.threshold)
        self._drift.reset(decision.threshold, decision.reject, self._config.drift)
        self._render.scale(decision.reject.median, decision.reject.threshold)

    def rearm(self) -> bool:
        """End the open event, in the thread that inspects; return whether there was one."""
        return self._inspector is not None and self._inspector.finish()

    def mute(self, *, muted: bool) -> None:
        """Mark the messages of later events as muted, or no longer; in the thread that inspects.

        The open event is ended, so that each is muted as a whole or not at all.
        """
        if self.publisher is not None and self.publisher.muted is not muted:
            self.rearm()
            self.publisher.muted = muted

    def add(self, sink: Sink) -> None:
        """Have a sink take what this camera's frames give, from the next one on; in the thread that inspects."""
        self._outlets.add(sink)

    def remove(self, sink: Sink) -> None:
        """Undo :meth:`add`; in the thread that inspects."""
        self._outlets.remove(sink)

    def trigger(self) -> bool:
        """Have the next frame inspected, in the thread that inspects; return whether commands trigger this camera."""
        if not isinstance(self._trigger, CommandTrigger):
            return False
        self._trigger.request()
        return True

    def snapshot(self) -> Snapshot:
        """Return the figures now; from any thread, also before :meth:`lane`."""
        own = self._own_figures()
        return own if self.publisher is None else self.publisher.with_messages(own)

    def expect_frames(self) -> None:
        """Count silence as a fault from now on, where the source gives frames without a pause."""
        if self.publisher is not None and self._is_steady:
            self.publisher.expect_frames()

    def close(self, *, hurry: bool) -> None:
        """End its outputs, from any thread; the stack that closes them, too, finds nothing left to do.

        Args:
            hurry: a supervisor waits for the end, so they get less time.
        """
        if self._store is not None:
            self._store.close(_HURRY_SECONDS if hurry else _CLOSE_SECONDS)
        if self.publisher is not None:
            self.publisher.close(_HURRY_SECONDS if hurry else _CLOSE_SECONDS)

    def notify(self, line: str) -> None:
        """Pass on a line for people, with the name of the camera."""
        self._plan.notify(f"{self.name}: {line}" if self.name else line)

    def _own_figures(self) -> Snapshot:
        """Return the figures without those of MQTT."""
        return replace(
            Snapshot() if self._inspector is None else self._inspector.counts(),
            dropped=self.source.dropped,
            evidence_lost=self._evidence.lost,
            output_lost=lost_errors() + sum(self._outlets.lost.values()),
            drift=self._drift.state,
            latencies=self._latencies.read(),
            machine=read_machine(),
        )

    def _publish(self, mqtt: MqttConfig, model: Model, stack: ExitStack) -> Publisher:
        self.channel = self._plan.commands.open(mqtt.topics)
        publisher = Publisher(
            mqtt,
            self._render,
            bundle=model.name,
            fault_after=self._plan.config.guards.fault_after,
            subscription=None if self.channel is None else self.channel.subscription,
            latencies=self._latencies,
        )
        publisher.snapshot = self._own_figures
        self._outlets.add(stack.enter_context(publisher))
        return publisher

    def _keep_evidence(self, mqtt: MqttConfig, model: Model, stack: ExitStack) -> None:
        # Evidence comes after MQTT, so that the last statistics count what its end could not write.
        config = self._plan.config.evidence
        if config.folder is None:
            return
        store = EvidenceStore(config.folder, config, mqtt.topics.origin, self._render, bundle=model.name)
        self._outlets.add(stack.enter_context(store))
        self._evidence = self._store = store
        if self.publisher is not None:
            self.publisher.evidence = store

    def _show_engine(self, loaded: LoadedEngine) -> None:
        if self.publisher is not None:
            self.publisher.engine = f"{loaded.engine.name} {loaded.engine.precision}"

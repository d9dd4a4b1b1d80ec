"""Commands at the line: inspect a stream, watch what is published."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle.bundle import Bundle, read_bundle
from edge_occ.bundle.guarantee import guarantee
from edge_occ.bundle.loading import LoadedEngine, load_engine
from edge_occ.bundle.manifest import Calibration
from edge_occ.cli.bundles import Config, Digest, Settings
from edge_occ.cli.console import print_json, print_line, say
from edge_occ.cli.outputs import Console, JsonLines
from edge_occ.common.errors import EventsLost, InputError
from edge_occ.common.progress import PhaseReport
from edge_occ.common.settings import load_settings
from edge_occ.common.signals import interruptible
from edge_occ.common.streams import lost_errors
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.guards import Guards
from edge_occ.inspection.likeness import Likeness
from edge_occ.inspection.result import Inspection
from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from edge_occ.mqtt.messages import State
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.received import format_line
from edge_occ.mqtt.topics import EVENT
from edge_occ.mqtt.watch import Watcher
from edge_occ.output.heatmap import encode_jpeg, overlay
from edge_occ.output.sink import Sink
from edge_occ.runtime.config import EngineConfig, RunConfig
from edge_occ.runtime.heartbeat import heartbeat_from_environment
from edge_occ.runtime.inspector import Inspector, Summary
from edge_occ.sources.uri import is_steady, open_source

_THIS_MACHINE = ("127.0.0.1", "localhost")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on standard output.")]
Broker = Annotated[
    str | None, typer.Option(metavar="URL", help="mqtt://host[:port] or mqtts://host[:port]; default: this machine.")
]


def run(  # noqa: PLR0913 - one parameter an option
    camera: Annotated[int | None, typer.Option(metavar="N", min=0, help="Number of a camera: /dev/videoN.")] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="0, v4l2:///dev/video0, file.mp4, folder/, 'folder/*.png'; with options: 'folder/?fps=10&loop=1'.",
        ),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: the only .occ file here.")] = None,
    broker: Broker = None,
    no_mqtt: Annotated[bool, typer.Option("--no-mqtt", help="Publish nothing.")] = False,
    config: Config = None,
    settings: Settings = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many frames.")] = None,
    sha256: Digest = None,
    json: Json = False,
) -> None:
    """Inspect a stream: score every frame, publish scores, events and heatmaps over MQTT.

    Without --broker and --config, a broker on this machine is used; if there is none, one is started for the run.
    A camera that is lost for 30 seconds ends the run with status 5.

    For instance: `edge-occ run --camera 0 --bundle part.occ --broker mqtt://192.168.0.10`
    """
    if (camera is None) == (source is None):
        raise InputError("one of --camera and --source", "both" if source else "neither", "for instance --camera 0")
    if broker and no_mqtt:
        raise InputError("one of --broker and --no-mqtt", "both", "leave one out")
    options = load_settings(RunConfig, [config] if config else [], settings or [])
    path = bundle or _only_bundle()
    address = source if source is not None else str(camera)
    opened = read_bundle(path, sha256)
    inspector: Inspector | None = None

    def output_lost() -> int:
        return lost_errors() + (0 if inspector is None else sum(inspector.lost.values()))

    with ExitStack() as stack:
        heartbeat = stack.enter_context(heartbeat_from_environment())
        frames = open_source(
            address,
            options.source.patience(),
            triggered=options.source.triggered,
            white=opened.manifest.training.white_level,
            # A line that stands still is not a run that hangs.
            on_wait=heartbeat.beat,
        )
        # Without MQTT, whoever reads the stream is the only one who listens, and their leaving ends the run.
        on_gone = frames.close if no_mqtt else None
        shown = JsonLines(on_gone, live=frames.live) if json else Console(on_gone)
        sinks: list[Sink] = [shown, heartbeat, Likeness(opened.manifest, say)]
        publisher: Publisher | None = None
        if not no_mqtt:
            mqtt = stack.enter_context(_reachable(options.mqtt, broker, fixed=config is not None))
            publisher = Publisher(
                mqtt,
                partial(_render, opened.manifest.calibration, options.mqtt.heatmap_side),
                bundle=path.name,
                source_dropped=lambda: frames.dropped,
                output_lost=output_lost,
                fault_after=options.guards.fault_after,
            )
            sinks.append(stack.enter_context(publisher))
        # The line is connected first, so that it is told of an engine that has to be built, which takes minutes.
        loaded = _load(opened, options.engine, publisher)
        stack.callback(loaded.engine.close)
        say(loaded.summary)
        say(guarantee(opened.manifest.calibration))
        judge = opened.conformal_threshold()
        guards = Guards(options.guards, opened.manifest.training.exposure, opened.manifest.training.colour)
        # The engine has what it needs of the bundle, which may be larger than all frames in flight.  Tracebacks of
        # engines that were tried in vain still refer to it, in cycles.
        del opened
        gc.collect()
        # The source begins last, or its first frames would wait for the broker.
        stack.enter_context(frames)
        if publisher is not None and is_steady(address, triggered=options.source.triggered):
            publisher.expect_frames()
        tracker = EventTracker(options.event.k, options.event.n, options.event.release)
        inspector = Inspector(loaded.engine, judge, tracker, sinks, guards)
        interrupted = stack.enter_context(interruptible(frames.close))
        try:
            inspector.run(frames, max_frames)
        finally:
            _tell(inspector.summary(frames.dropped))
    if publisher is not None:
        _check_delivery(publisher, json=json)
    if interrupted.is_set():
        raise KeyboardInterrupt
    if isinstance(shown, JsonLines) and shown.failure is not None:
        raise shown.failure


def watch(
    broker: Broker = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="First levels of the topics; default: edge-occ.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for messages (.jsonl) and heatmaps (.jpg).")
    ] = None,
    until_offline: Annotated[bool, typer.Option("--until-offline", help="End when the device goes offline.")] = False,
    config: Config = None,
    settings: Settings = None,
) -> None:
    """Show what inspectors publish, as it arrives; a subscriber like any dashboard.

    --config takes the file that the inspector runs with: broker, prefix and certificates are in its section mqtt.

    For instance: `edge-occ watch --broker mqtt://192.168.0.10 --save messages`
    """
    given = [
        f"mqtt.{name}={dumps(value)}" for name, value in (("broker", broker), ("prefix", prefix)) if value is not None
    ]
    options = load_settings(RunConfig, [config] if config else [], [*(settings or []), *given]).mqtt
    with interruptible() as stop, Watcher(options, save=save, until_offline=until_offline, stop=stop) as watcher:
        say(f"watching {options.broker}, topics {options.prefix}/+/...")
        for received in watcher:
            print_line(format_line(received))
    if stop.is_set():
        raise KeyboardInterrupt


@contextmanager
def _reachable(mqtt: MqttConfig, broker: str | None, *, fixed: bool) -> Iterator[MqttConfig]:
    """The broker asked for, or one on this machine, or one of our own for as long as the block lasts.

    A broker that was named, here or in a file, is never replaced: ours on its port would keep it from coming back.
    """
    if broker is not None:
        parse_broker(broker)
        yield mqtt.model_copy(update={"broker": broker})
        return
    local = parse_broker(mqtt.broker)
    if fixed or local.host not in _THIS_MACHINE or broker_answers(local.host, local.port, 1.0):
        yield mqtt
        return
    with EmbeddedBroker(local.port):
        say(f"no broker on {local}; started one for this run (try: edge-occ watch)")
        yield mqtt.model_copy(update={"protocol": EmbeddedBroker.PROTOCOL})


def _load(bundle: Bundle, engine: EngineConfig, publisher: Publisher | None) -> LoadedEngine:
    """Choose and load the engine; the line is told of a build, and of its end."""

    def building(what: str) -> None:
        if publisher is not None:
            publisher.announce(State.BUILDING, what)

    with PhaseReport(building) as progress:
        loaded = load_engine(bundle, engine.name, engine.precision, engine.options(), notify=say, progress=progress)
    if publisher is not None:
        publisher.engine = f"{loaded.engine.name} {loaded.engine.precision}"
        if progress.shown:
            publisher.announce(State.ONLINE)
    return loaded


def _render(calibration: Calibration, longest_side: int, inspection: Inspection) -> bytes:
    frame, scores = inspection.frame.image, inspection.scores.map
    return encode_jpeg(overlay(frame, scores, calibration.median, calibration.threshold, longest_side))


def _only_bundle() -> Path:
    found = sorted(Path.cwd().glob("*.occ"))
    if len(found) != 1:
        raise InputError(
            "one .occ file in this folder", ", ".join(p.name for p in found) or "none", "name a bundle with --bundle"
        )
    return found[0]


def _check_delivery(publisher: Publisher, *, json: bool) -> None:
    """Raise :class:`EventsLost`, after a last line of JSON if that is asked for, unless the broker has every event."""
    lost, sent = publisher.lost_events, publisher.summary
    if not lost:
        return
    parts = {"dropped": sent.dropped, "refused": sent.refused, "failed": sent.failed}
    counts = {name: kinds.get(EVENT, 0) for name, kinds in parts.items()}
    if json:
        print_json({"schema": "edge-occ/undelivered/1", "events": lost, **counts})
    found = f"{lost} lost ({counts['dropped']} not delivered, {counts['refused']} refused by the broker)"
    raise EventsLost(
        "every event message taken by the broker", found, "see the warnings above; check the broker and the way to it"
    )


def _tell(summary: Summary) -> None:
    latency = ", ".join(f"{name} {value:.1f}" for name, value in summary.verdict_ms.items()) or "-"
    say(
        f"{summary.frames} frames, {summary.fps:.1f}/s, {summary.dropped} dropped; {summary.anomalous} anomalous, "
        f"{summary.events} events; capture to verdict {latency} ms"
    )
    if summary.faults:
        counts = ", ".join(f"{count} {reason}" for reason, count in summary.faults.items())
        say(f"not inspected: {counts}")
    lost = {**summary.lost, **({Console.name: lost_errors()} if lost_errors() else {})}
    if lost:
        say("output lost: " + ", ".join(f"{count} of {name}" for name, count in lost.items()))

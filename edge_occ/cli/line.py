"""Commands at the line: inspect a stream, watch what is published."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.bundle import Bundle, read_bundle
from edge_occ.cli.console import print_json, say
from edge_occ.config import EngineConfig, RunConfig
from edge_occ.decision import EventTracker, Phase
from edge_occ.engine import Loaded, load_engine
from edge_occ.errors import InputError
from edge_occ.heartbeat import heartbeat_from_environment
from edge_occ.heatmap import encode_jpeg, overlay
from edge_occ.inspection import Inspection, Sink
from edge_occ.inspector import Inspector, Summary
from edge_occ.interrupt import interruptible
from edge_occ.manifest import Calibration
from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.embedded import EmbeddedBroker, broker_answers
from edge_occ.mqtt.messages import State, score_message
from edge_occ.mqtt.publisher import Publisher
from edge_occ.mqtt.received import format_line
from edge_occ.mqtt.watch import Watcher
from edge_occ.progress import PhaseReport
from edge_occ.promise import promise
from edge_occ.settings import load_settings
from edge_occ.sources.uri import open_source

_THIS_MACHINE = ("127.0.0.1", "localhost")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line on standard output.")]
Config = Annotated[Path | None, typer.Option(help="YAML file of settings; configs/run.yaml shows them all.")]
Broker = Annotated[str | None, typer.Option(help="mqtt://host[:port] or mqtts://host[:port].")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Override a setting: section.field=value.")]


def run(  # noqa: PLR0913 - one parameter an option
    camera: Annotated[int | None, typer.Option(min=0, help="Number of a camera: /dev/videoN.")] = None,
    source: Annotated[
        str | None, typer.Option(help="0, v4l2:///dev/video0, file.mp4, folder/, 'folder/*.png'; ?fps=10.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Default: the only .occ file here.")] = None,
    broker: Broker = None,
    no_mqtt: Annotated[bool, typer.Option("--no-mqtt", help="Publish nothing.")] = False,
    config: Config = None,
    settings: Settings = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    json: Json = False,
) -> None:
    """Inspect a stream: score every frame, publish scores, events and heatmaps over MQTT.

    Without --broker and --config, a broker on this machine is used; if there is none, one is started for the run.
    """
    if (camera is None) == (source is None):
        raise InputError("one of --camera and --source", "both" if source else "neither", "for instance --camera 0")
    if broker and no_mqtt:
        raise InputError("one of --broker and --no-mqtt", "both", "leave one out")
    options = load_settings(RunConfig, [config] if config else [], settings or [])
    path = bundle or _only_bundle()
    opened = read_bundle(path)
    sinks: list[Sink] = [JsonLines() if json else Console()]
    heartbeat = heartbeat_from_environment()
    if heartbeat is not None:
        sinks.append(heartbeat)
    with ExitStack() as stack:
        frames = open_source(source if source is not None else str(camera))
        publisher: Publisher | None = None
        if not no_mqtt:
            mqtt = stack.enter_context(_reachable(options.mqtt, broker, fixed=config is not None))
            publisher = Publisher(
                mqtt,
                partial(_render, opened.manifest.calibration, options.mqtt.heatmap_side),
                bundle=path.name,
                source_dropped=lambda: frames.dropped,
            )
            sinks.append(stack.enter_context(publisher))
        # The line is connected first, so that it is told of an engine that has to be built, which takes minutes.
        loaded = _load(opened, options.engine, publisher)
        stack.callback(loaded.engine.close)
        say(loaded.summary)
        say(promise(opened.manifest.calibration))
        judge = opened.judge()
        # The engine has what it needs of the bundle, which may be larger than all frames in flight.  Tracebacks of
        # engines that were tried in vain still refer to it, in cycles.
        del opened
        gc.collect()
        # The source begins last, or its first frames would wait for the broker.
        stack.enter_context(frames)
        tracker = EventTracker(options.event.k, options.event.n, options.event.release)
        inspector = Inspector(loaded.engine, judge, tracker, sinks)
        interrupted = stack.enter_context(interruptible(frames.close))
        summary = inspector.run(frames, max_frames)
    _tell(summary)
    if interrupted.is_set():
        raise KeyboardInterrupt


def watch(
    broker: Broker = None,
    prefix: Annotated[str, typer.Option(help="First levels of the topics.")] = "edge-occ",
    save: Annotated[Path | None, typer.Option(help="Folder for messages (.jsonl) and heatmaps (.jpg).")] = None,
    until_offline: Annotated[bool, typer.Option("--until-offline", help="End when the device goes offline.")] = False,
) -> None:
    """Show what inspectors publish, as it arrives; a subscriber like any dashboard."""
    options = MqttConfig(prefix=prefix, **({"broker": broker} if broker else {}))
    with interruptible() as stop, Watcher(options, save=save, until_offline=until_offline, stop=stop) as watcher:
        say(f"watching {options.broker}, topics {prefix}/+/...")
        for received in watcher:
            typer.echo(format_line(received))
    if stop.is_set():
        raise KeyboardInterrupt


class JsonLines:
    """Prints one JSON object a frame."""

    def publish(self, inspection: Inspection) -> None:
        """Print the score message."""
        latency = (time.monotonic() - inspection.frame.captured_monotonic) * 1e3
        print_json(score_message(inspection, latency).model_dump(mode="json", by_alias=True))

    def finish(self, inspection: Inspection) -> None:
        """Nothing: an event's end is no frame."""


class Console:
    """Tells people where events begin and end."""

    def publish(self, inspection: Inspection) -> None:
        """Print a line if an event begins or ends."""
        change, verdict = inspection.event, inspection.verdict
        if change is None or change.phase is Phase.UPDATE:
            return
        name = inspection.frame.name or f"frame {inspection.frame.index}"
        say(
            f"{change.phase.value:<5}  {name}  score {verdict.score:.1f}  "
            f"p {verdict.p_value:.4f}  peak {change.peak:.1f}"
        )

    def finish(self, inspection: Inspection) -> None:
        """Print the last event's end."""
        self.publish(inspection)


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


def _load(bundle: Bundle, engine: EngineConfig, publisher: Publisher | None) -> Loaded:
    """Choose and load the engine; the line is told of a build, and of its end."""

    def building(what: str) -> None:
        if publisher is not None:
            publisher.announce(State.BUILDING, what)

    with PhaseReport(building) as progress:
        loaded = load_engine(bundle, engine.name, engine.precision, engine.options(), tell=say, progress=progress)
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


def _tell(summary: Summary) -> None:
    latency = ", ".join(f"{name} {value:.1f}" for name, value in summary.latency_ms.items()) or "-"
    say(
        f"{summary.frames} frames, {summary.fps:.1f}/s, {summary.dropped} dropped; {summary.anomalous} anomalous, "
        f"{summary.events} events; capture to verdict {latency} ms"
    )

"""``edge-occ run``: the inspector."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import Broker, Config, JsonLines, Settings, Sha256
from edge_occ.common.console import print_json, say
from edge_occ.common.errors import EventsLost, InputError
from edge_occ.common.settings import load_settings
from edge_occ.mqtt.broker import parse_broker
from edge_occ.mqtt.topics import check_prefix
from edge_occ.runtime.config import RunConfig
from edge_occ.runtime.station import Station
from edge_occ.sources.uri import without_password


def run(  # noqa: PLR0913 - one parameter an option
    camera: Annotated[int | None, typer.Option(metavar="N", min=0, help="Number of a camera: /dev/videoN.")] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URI",
            help="0, v4l2:///dev/video0, csi://0, rtsp://host/path, file.mp4, folder/, 'folder/*.png', "
            "'folder/?watch=1'; several cameras: --source left=0 --source right=1.",
        ),
    ] = None,
    bundle: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: the only .occ file here.")] = None,
    broker: Broker = None,
    no_mqtt: Annotated[bool, typer.Option("--no-mqtt", help="Publish nothing.")] = False,
    config: Config = None,
    settings: Settings = None,
    max_frames: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after so many frames.")] = None,
    sha256: Sha256 = None,
    json: JsonLines = False,
) -> None:
    """Inspect a stream: score every frame, publish scores, events and heatmaps over MQTT.

    Without --broker and --config, a broker on this machine is used; if there is none, one is started for the run.
    A camera that is lost for 30 seconds ends the run with status 5. Several cameras share one engine; each has its own
    topics, and one that is lost does not stop the others.

    For instance: `edge-occ run --camera 0 --bundle part.occ --broker mqtt://192.168.0.10`
    """
    if (camera is None) == (not source):
        raise InputError("one of --camera and --source", "both" if source else "neither", "for instance --camera 0")
    if broker and no_mqtt:
        raise InputError("one of --broker and --no-mqtt", "both", "leave one out")
    if broker is not None:
        parse_broker(broker)
    read = partial(_read_settings, config, settings or [], broker)
    options = read()
    if options.metrics.port is not None:
        require_extra("prometheus_client", "metrics")
    station = Station(
        options,
        bundle or _only_bundle(),
        _named(source or [str(camera)]),
        sha256=sha256,
        publish=not no_mqtt,
        start_broker=broker is None and config is None,
        json=json,
        max_frames=max_frames,
        reread=read,
    )
    try:
        station.run(say)
    except EventsLost as error:
        if json:
            events = sum(error.counts.values())
            print_json({"schema": "edge-occ/undelivered/1", "events": events, **error.counts})
        raise


def _read_settings(config: Path | None, settings: list[str], broker: str | None) -> RunConfig:
    options = load_settings(RunConfig, [config] if config else [], settings)
    check_prefix(options.mqtt.prefix)  # one with + is for subscribers alone
    if broker is None:
        return options
    return options.model_copy(update={"mqtt": options.mqtt.model_copy(update={"broker": broker})})


def _named(sources: list[str]) -> dict[str, str]:
    """Return the addresses by the cameras' names; a single one needs no name."""
    found: dict[str, str] = {}
    for source in sources:
        match = re.fullmatch(r"([A-Za-z0-9_-]{1,64})=(.+)", source, re.DOTALL)
        name, address = (match[1], match[2]) if match else ("", source)
        if not name and len(sources) > 1:
            advice = "for instance --source left=0 --source right=1"
            raise InputError("a name for each of several cameras", without_password(source), advice)
        if name in found:
            raise InputError("another name for each camera", f"{name} twice", "rename one")
        found[name] = address
    return found


def _only_bundle() -> Path:
    found = sorted(Path.cwd().glob("*.occ"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise InputError("one .occ file in this folder", names, "name a bundle with --bundle")
    return found[0]

"""``edge-occ watch``: a subscriber in the terminal."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.options import Broker, Config, Settings
from edge_occ.common.console import print_line, say
from edge_occ.common.settings import load_settings
from edge_occ.common.signals import interruptible
from edge_occ.mqtt.received import format_line
from edge_occ.mqtt.watch import Watcher
from edge_occ.runtime.config import RunConfig


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

"""``edge-occ watch``: a subscriber in the terminal."""

from __future__ import annotations

import sys
from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from edge_occ.cli.options import Broker, Config, Settings
from edge_occ.common.console import print_line, say
from edge_occ.common.settings import load_settings
from edge_occ.common.signals import interruptible
from edge_occ.mqtt.payloads import PAYLOADS
from edge_occ.mqtt.received import format_line
from edge_occ.mqtt.topics import HEATMAP
from edge_occ.mqtt.watch import Watcher
from edge_occ.runtime.config import RunConfig


def watch(
    broker: Broker = None,
    prefix: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="First levels of the topics, + for any one; default: edge-occ.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for messages (.jsonl) and heatmaps (.jpg).")
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="Print a line a message, as where standard output is no terminal.")
    ] = False,
    until_offline: Annotated[bool, typer.Option("--until-offline", help="End when the device goes offline.")] = False,
    config: Config = None,
    settings: Settings = None,
) -> None:
    """Show what inspectors publish, as it arrives; a subscriber like any dashboard.

    In a terminal: every camera with its state, score against the threshold and rates, and the latest events. Elsewhere,
    and with --lines, one line a message.

    --config takes the file that the inspector runs with: broker, prefix and certificates are in its section mqtt.

    For instance: `edge-occ watch --broker mqtt://192.168.0.10 --save messages`
    """
    given = [
        f"mqtt.{name}={dumps(value)}" for name, value in (("broker", broker), ("prefix", prefix)) if value is not None
    ]
    options = load_settings(RunConfig, [config] if config else [], [*(settings or []), *given]).mqtt
    in_terminal = sys.stdout.isatty() and not lines
    # The tables show no heatmaps, so they are received only to be saved.
    kinds = [kind for kind in PAYLOADS if not in_terminal or save is not None or kind != HEATMAP]
    watching = partial(Watcher, options, kinds=kinds, save=save, until_offline=until_offline)
    with interruptible() as stop, watching(stop=stop) as watcher:
        say(f"watching {options.broker}, topics {options.prefix}/+/...")
        if in_terminal:
            from edge_occ.dashboard.terminal import TerminalView  # noqa: PLC0415 - run does not load a dashboard

            with TerminalView(Console()) as view:
                for received in watcher:
                    view.take(received, watcher.session)
        else:
            for received in watcher:
                print_line(format_line(received))
    if stop.is_set():
        raise KeyboardInterrupt

"""``edge-occ doctor``: what this machine can do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from edge_occ.cli.options import Json
from edge_occ.common.console import print_json
from edge_occ.common.settings import load_settings
from edge_occ.doctor import diagnose
from edge_occ.doctor.report import CheckState
from edge_occ.mqtt.broker import parse_broker
from edge_occ.runtime.config import RunConfig

_STYLES = {
    CheckState.OK: "green",
    CheckState.MISSING: "bold red",
    CheckState.WRONG: "bold red",
    CheckState.NOTE: "yellow",
}


def doctor(
    broker: Annotated[
        str | None, typer.Option(metavar="URL", help="Broker to try: mqtt://host[:port] or mqtts://host[:port].")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file of settings of edge-occ run; names the broker.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what this machine can do, what is missing, and the command that fixes it.

    Exit status 0 if edge-occ run can work here, 4 if no engine loads, 2 if something else that it needs does not.

    For instance: `edge-occ doctor --broker mqtt://192.168.0.10`
    """
    mqtt = load_settings(RunConfig, [config], []).mqtt if config else None
    if broker is not None:
        parse_broker(broker)
        mqtt = (mqtt or RunConfig().mqtt).model_copy(update={"broker": broker})
    diagnosis = diagnose(mqtt)
    if json:
        print_json(diagnosis.as_json())
    else:
        # Not wrapped, so that commands can be copied.
        page = Console(highlight=False, soft_wrap=True)
        for state, line in diagnosis.lines():
            text = Text(line)
            if state is not None:
                text.stylize(_STYLES[state], 0, len(state.value))
            page.print(text)
    if diagnosis.exit_code:
        raise typer.Exit(diagnosis.exit_code)

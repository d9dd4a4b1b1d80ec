"""``edge-occ dashboard``: a subscriber in the browser."""

from __future__ import annotations

from functools import partial
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from edge_occ.cli.extras import require_extra
from edge_occ.cli.options import Broker, Config, Settings
from edge_occ.common.console import say
from edge_occ.common.errors import InputError
from edge_occ.common.settings import load_settings
from edge_occ.common.signals import ending_at_once, interruptible
from edge_occ.output.evidence.label import mark
from edge_occ.runtime.config import RunConfig


def dashboard(  # noqa: PLR0913 - one parameter an option
    broker: Broker = None,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="TCP port of the page; 0: a free one.")
    ] = 8090,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all, which needs a token.")
    ] = "127.0.0.1",
    prefix: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="First levels of the topics, + for any one; default: edge-occ.")
    ] = None,
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the evidence store, if it is on this machine.")
    ] = None,
    review: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Page of `edge-occ review`, for a link to it.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of the token, made if absent; or set EDGE_OCC_DASHBOARD_TOKEN."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name of this machine in addresses. Repeatable.")
    ] = None,
    silent_after: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Time without messages after which a device is silent.")
    ] = 15,
    config: Config = None,
    settings: Settings = None,
) -> None:
    """Show what inspectors publish on one web page; a subscriber like any other dashboard.

    With --evidence and a token, events can be marked as good or as a defect; the label is stored with the evidence.

    --config takes the file that the inspector runs with: broker, prefix and certificates are in its section mqtt.

    For instance: `edge-occ dashboard --broker mqtt://192.168.0.10`
    """
    for module in ("starlette", "uvicorn"):
        require_extra(module, "dashboard")
    with ending_at_once():
        from edge_occ.dashboard.access_token import (  # noqa: PLC0415 - needs the packages of the extra
            default_token_file,
            token_from_environment,
            token_from_file,
        )
        from edge_occ.dashboard.limits import Limits  # noqa: PLC0415
        from edge_occ.dashboard.local import LocalFiles  # noqa: PLC0415
        from edge_occ.dashboard.serve import is_loopback, serve  # noqa: PLC0415

    given = [
        f"mqtt.{name}={dumps(value)}" for name, value in (("broker", broker), ("prefix", prefix)) if value is not None
    ]
    options = load_settings(RunConfig, [config] if config else [], [*(settings or []), *given]).mqtt
    if evidence is not None and not evidence.is_dir():
        raise InputError("a folder as --evidence", f"no folder {evidence}", "name the folder of the evidence store")
    if review is not None and not review.is_file():
        raise InputError("a page as --review", f"no file {review}", "make one: edge-occ review part.occ")
    token = None if token_file else token_from_environment()
    if token is None and (token_file or not is_loopback(host)):
        path = token_file or default_token_file()
        token, made = token_from_file(path)
        say(f"the token that the page asks for is in {path}{' (new)' if made else ''}")
    with interruptible() as stop:
        serve(
            options,
            host,
            port,
            stop,
            limits=Limits(silent_seconds=silent_after),
            token=token,
            hosts=allow_host or (),
            local=LocalFiles(evidence, None if evidence is None else partial(mark, evidence), review),
            on_ready=lambda url: say(f"the page is at {url} (broker {options.broker}, topics {options.prefix}/+/...)"),
        )
    if stop.is_set():
        raise KeyboardInterrupt

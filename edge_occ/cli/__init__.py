"""The command ``edge-occ``: one module a command, which parses its options, calls one function and prints."""

from __future__ import annotations

import logging

import typer

from edge_occ import __version__
from edge_occ.cli import bench, dashboard, doctor, events, inspect, recalibrate, record, run, score, verify, watch
from edge_occ.cli.commands import Command, Group
from edge_occ.cli.compile import compile_bundle
from edge_occ.cli.guarded import guarded

app = typer.Typer(
    name="edge-occ",
    cls=Group,
    help="Streaming visual inspector: learns from pictures of good parts alone, scores every camera frame, "
    "reports over MQTT.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Exit status: 0 done, 2 wrong arguments or input, 3 bundle refused, 4 engine not available, 5 source lost, "
    "6 event messages lost, 7 hung (ended by EDGE_OCC_WATCHDOG), 130 interrupted.",
)

for name, command in (
    ("run", run.run),
    ("record", record.record),
    ("watch", watch.watch),
    ("dashboard", dashboard.dashboard),
    ("score", score.score),
    ("inspect", inspect.inspect),
    ("verify", verify.verify),
    ("compile", compile_bundle),
    ("recalibrate", recalibrate.recalibrate),
    ("bench", bench.bench),
    ("events", events.events),
    ("doctor", doctor.doctor),
):
    app.command(name, cls=Command)(guarded(command))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-occ {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Write a detailed log to standard error."),
    _show_version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

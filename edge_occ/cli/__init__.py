"""The command ``edge-occ``: parses, calls one function, prints."""

from __future__ import annotations

import logging

import typer

from edge_occ import __version__
from edge_occ.cli import bundles, doctor, line, record, reproduce, training
from edge_occ.cli.commands import Command, Group
from edge_occ.cli.console import guarded

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

for command in (
    training.train,
    training.evaluate,
    reproduce.reproduce,
    bundles.score,
    bundles.inspect,
    bundles.verify,
    bundles.bench,
    line.run,
    record.record,
    line.watch,
    training.demo,
    doctor.doctor,
):
    app.command(cls=Command)(guarded(command))
app.command("compile", cls=Command)(guarded(bundles.compile_bundle))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edge-occ {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log what happens inside, to standard error."),
    _show_version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

"""Typer's command classes, with lazily loaded commands of other packages."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from edge_occ.cli.guarded import guarded
from edge_occ.cli.plugins import load_plugin, plugin_names
from edge_occ.common.console import say_error
from edge_occ.common.errors import InputError


class Command(TyperCommand):
    """A command whose help shows no type for flags: newer Typers show ``<bool>``, as if they took a value."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - click's, which Typer vendors under changing names
        """Return the parameters, ``--help`` among them."""
        return _without_flag_types(super().get_params(ctx))

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        """Parse; this is where ``--help`` of one command prints."""
        with _unwritable_output_reported():
            return super().make_context(*arguments, **options)


class Group(TyperGroup):
    """All commands: those of this package, and the plugins, each loaded when it is called or listed.

    A reader of the output that leaves early, such as ``head``, is no error.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - as above
        """Return the names, those of this package first."""
        names = super().list_commands(ctx)
        return [*names, *(name for name in plugin_names() if name not in names)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - as above
        """Return a command, or ``None`` if there is none of this name."""
        return super().get_command(ctx, cmd_name) or _plugin_command(cmd_name)

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Return the parameters, ``--help`` among them."""
        return _without_flag_types(super().get_params(ctx))

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        """Parse; this is where ``--help`` and ``--version`` print."""
        with _unwritable_output_reported(), _closed_pipes_forgiven():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Run the command."""
        with _closed_pipes_forgiven():
            return super().invoke(ctx)


def _plugin_command(name: str) -> Any:  # noqa: ANN401 - as above
    settings = {}
    try:
        function = load_plugin(name)
    except InputError as error:
        # Its options are unknown here; all of them lead to the error.
        function, settings = _raising(error), {"ignore_unknown_options": True, "allow_extra_args": True}
    if function is None:
        return None
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")
    app.command(name, cls=Command, context_settings=settings)(guarded(function))
    return get_command(app)


def _raising(error: InputError) -> Callable[[], None]:
    def unavailable() -> None:
        raise error

    unavailable.__doc__ = f"Not available here; {error.advice}"
    return unavailable


def _without_flag_types(parameters: Any) -> Any:  # noqa: ANN401 - as above
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


@contextmanager
def _unwritable_output_reported() -> Iterator[None]:
    """Report a full disk as the error of a user while ``--help`` or ``--version`` prints."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        found = error.strerror or str(error)
        unwritable = InputError("a standard output that can be written", found, "make room, or send it elsewhere")
        say_error(unwritable)
        raise typer.Exit(unwritable.exit_code) from None


@contextmanager
def _closed_pipes_forgiven() -> Iterator[None]:
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # Rich turns a BrokenPipeError into a SystemExit.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except BrokenPipeError:  # noqa: PERF203 - Python would report it when it flushes at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        ended = error.__context__
        raise typer.Exit(ended.exit_code if isinstance(ended, typer.Exit) else 0) from None

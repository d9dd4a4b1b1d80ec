"""How commands are parsed and shown: Typer's, less what is of no use to a reader."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help shows no type for flags: newer Typers show ``<bool>``, as if they took a value."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - click's, which Typer brings under changing names
        """The parameters, ``--help`` among them."""
        return _without_flag_types(super().get_params(ctx))


class Group(TyperGroup):
    """All commands; a reader of their output who leaves early, such as ``head``, is no error."""

    def get_params(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """The parameters, ``--help`` among them."""
        return _without_flag_types(super().get_params(ctx))

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as above
        """Parse; this is where ``--help`` and ``--version`` print."""
        with _closed_pipes_forgiven():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - as above
        """Run the command."""
        with _closed_pipes_forgiven():
            return super().invoke(ctx)


def _without_flag_types(parameters: Any) -> Any:  # noqa: ANN401 - as above
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


@contextmanager
def _closed_pipes_forgiven() -> Iterator[None]:
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # Rich turns the one into the other.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            raise
        for stream in filter(None, (sys.stdout, sys.stderr)):
            try:
                stream.flush()
            except BrokenPipeError:  # noqa: PERF203 - Python would complain of it when it flushes at exit
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        ended = error.__context__
        raise typer.Exit(ended.exit_code if isinstance(ended, typer.Exit) else 0) from None

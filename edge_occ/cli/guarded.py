"""Errors and signals of a command, as lines for the user and an exit status."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from edge_occ.common.console import say, say_error
from edge_occ.common.errors import UserError
from edge_occ.common.signals import INTERRUPTED, terminable

Result = TypeVar("Result")


def guarded(command: Callable[..., Result]) -> Callable[..., Result]:
    """Return the command with its errors for users turned into three short lines and their exit status."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Result:  # noqa: ANN401 - the command's own parameters
        try:
            with terminable():
                return command(*arguments, **options)
        except UserError as error:
            say_error(error)
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("interrupted; everything written so far is whole")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader has all it wanted; forgiving_streams keeps Python from reporting it at exit.
            raise typer.Exit(0) from None

    return run

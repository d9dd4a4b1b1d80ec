"""What all commands share: how they speak and how they fail."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from edge_occ.common.console import print_json, print_line, say, say_error
from edge_occ.common.errors import UserError
from edge_occ.common.signals import INTERRUPTED, terminable

__all__ = ["guarded", "print_json", "print_line", "say"]

Result = TypeVar("Result")


def guarded(command: Callable[..., Result]) -> Callable[..., Result]:
    """Turn errors meant for the user into three short lines and their exit status."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Result:  # noqa: ANN401 - whatever the command takes
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
            # The reader has what it wanted; forgiving_streams sees to it that Python ends as quietly.
            raise typer.Exit(0) from None

    return run

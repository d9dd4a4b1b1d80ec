"""What all commands share: how they speak and how they fail."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from edge_occ.errors import UserError
from edge_occ.interrupt import INTERRUPTED, terminable

Result = TypeVar("Result")

_console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line for people, on standard error."""
    _console.print(Text(text))


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def guarded(command: Callable[..., Result]) -> Callable[..., Result]:
    """Turn errors meant for the user into three short lines and their exit status."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Result:  # noqa: ANN401 - whatever the command takes
        try:
            with terminable():
                return command(*arguments, **options)
        except UserError as error:
            for label, text in (("expected", error.expected), ("found", error.found), ("next", error.advice)):
                _console.print(Text(f"{label:>9}  ", style="bold red") + Text(text))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("interrupted; everything written so far is whole")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader has gone; Python would complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return run

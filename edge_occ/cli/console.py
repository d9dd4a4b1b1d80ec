"""What all commands share: how they speak and how they fail."""

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from edge_occ.common.errors import InputError, UserError
from edge_occ.common.printable import printable
from edge_occ.common.signals import INTERRUPTED, terminable

Result = TypeVar("Result")

_console = Console(stderr=True, highlight=False, soft_wrap=True)
_SURROGATES = re.compile("[\ud800-\udfff]")


def say(text: str) -> None:
    """A line for people, on standard error; see :func:`edge_occ.common.printable.printable`."""
    _console.print(Text(printable(text)))


def print_line(text: str) -> None:
    """A line of standard output, in its own encoding; what that does not have becomes a question mark.

    See :func:`edge_occ.common.printable.printable`.

    Raises:
        InputError: it cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    _write(printable(text).encode(sys.stdout.encoding or "utf-8", "replace"))


def print_json(content: dict[str, Any]) -> None:
    """One JSON object on one line of standard output, in UTF-8 whatever the locale.

    Raises:
        InputError, BrokenPipeError: as :func:`print_line`.
    """
    _write(whole(json.dumps(content, ensure_ascii=False)).encode())


def whole(text: str) -> str:
    """The text as valid Unicode: of a file name that is not UTF-8, Python keeps the bytes as lone surrogates."""
    return _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def _write(line: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        found = str(error.strerror)
        raise InputError("a standard output that can be written", found, "make room, or send it elsewhere") from error


def guarded(command: Callable[..., Result]) -> Callable[..., Result]:
    """Turn errors meant for the user into three short lines and their exit status."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Result:  # noqa: ANN401 - whatever the command takes
        try:
            with terminable():
                return command(*arguments, **options)
        except UserError as error:
            for label, text in (("expected", error.expected), ("found", error.found), ("next", error.advice)):
                _console.print(Text(f"{label:>9}  ", style="bold red") + Text(printable(text)))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            say("interrupted; everything written so far is whole")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader has what it wanted; forgiving_streams sees to it that Python ends as quietly.
            raise typer.Exit(0) from None

    return run

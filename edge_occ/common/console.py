"""Lines for people on standard error, and results on standard output."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from edge_occ.common.errors import InputError, UserError
from edge_occ.common.printable import printable

_console = Console(stderr=True, highlight=False, soft_wrap=True)
_SURROGATES = re.compile("[\ud800-\udfff]")


def say(text: str) -> None:
    """Print a line on standard error; see :func:`edge_occ.common.printable.printable`."""
    _console.print(Text(printable(text)))


def say_error(error: UserError) -> None:
    """Print the three parts of an error on standard error, a line each."""
    for label, text in (("expected", error.expected), ("found", error.found), ("next", error.advice)):
        _console.print(Text(f"{label:>9}  ", style="bold red") + Text(printable(text)))


def print_line(text: str) -> None:
    """Print a line on standard output, in its encoding; a character that the encoding lacks becomes a question mark.

    See :func:`edge_occ.common.printable.printable`.

    Raises:
        InputError: standard output cannot be written.
        BrokenPipeError: nothing reads standard output any more.
    """
    _write(printable(text).encode(sys.stdout.encoding or "utf-8", "replace"))


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON object as one line of standard output, in UTF-8 for every locale.

    A byte of a file name that is not UTF-8 becomes the replacement character.

    Raises:
        InputError, BrokenPipeError: as :func:`print_line`.
    """
    _write(_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", json.dumps(content, ensure_ascii=False)).encode())


def _write(line: bytes) -> None:
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        found = str(error.strerror)
        raise InputError("a standard output that can be written", found, "free disk space, or redirect it") from error

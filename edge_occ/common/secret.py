"""Secrets come from the environment, or from files that it names: never from settings, arguments or addresses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edge_occ.common.errors import InputError

_MAX_BYTES = 65_536


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the value of a variable, or the first line of the file that ``NAME_FILE`` names; ``None`` without either.

    The second way is that of Docker's and systemd's secrets.  An empty variable counts as absent.

    Raises:
        InputError: both are set, or the file is empty, no text or unreadable; its contents are not repeated.
    """
    value, file = environment.get(name) or None, environment.get(f"{name}_FILE") or None
    if file is None:
        return value
    if value is not None:
        raise InputError(f"{name} or {name}_FILE", "both", "leave one out")
    try:
        with Path(file).open("rb") as opened:
            return opened.read(_MAX_BYTES).decode().splitlines()[0]
    except (OSError, UnicodeDecodeError, IndexError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no line of text"
        raise InputError(f"a file with the secret in {name}_FILE", f"{file}: {reason}", "correct the file") from None

"""Commands of other packages, which join through the entry point group ``edge_occ.commands``.

The trainer joins in this way, so that the device half does not import it: without the trainer, or with a broken one,
all other commands work.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

from edge_occ.common.errors import InputError

GROUP = "edge_occ.commands"

_EXTRAS = {
    "train": "train",
    "evaluate": "evaluate",
    "review": "evaluate",
    "refit": "train",
    "reproduce": "train",
    "demo": "demo",
}
"""Extra of this project that a command needs; such a command is listed where it is missing, too."""


def plugin_names() -> list[str]:
    """Return the names of the commands of other packages, missing ones among them."""
    return [*_EXTRAS, *sorted({entry.name for entry in entry_points(group=GROUP)} - set(_EXTRAS))]


def load_plugin(name: str) -> Callable[..., Any] | None:
    """Return the function of a command, or ``None`` if no package has such a command.

    Raises:
        InputError: the command is missing here, or its package cannot be loaded; the error says what to install.
    """
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is None and name not in _EXTRAS:
        return None
    try:
        command: Callable[..., Any] | None = entry.load() if entry else None
    except Exception as error:  # noqa: BLE001 - a broken package must not break the other commands
        found = f"{type(error).__name__} while loading {entry.value if entry else name}: {error}"
    else:
        if command is not None:
            return command
        found = "no installed package that has it"
    advice = f"pip install 'edge-occ[{_EXTRAS[name]}]'" if name in _EXTRAS else "install its package again"
    raise InputError(f"the command {name}", found, advice)

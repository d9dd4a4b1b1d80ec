"""The folder for what must outlive a run: the outbox, the dashboard's token."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path | None:
    """Return ``$STATE_DIRECTORY`` of systemd, ``$XDG_STATE_HOME/edge-occ`` or ``~/.local/state/edge-occ``.

    ``None`` for a user without a home.
    """
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME")
    try:
        return Path(home or Path.home() / ".local" / "state") / "edge-occ"
    except RuntimeError:
        return None

"""Release and power mode of a Jetson, from its files; ``None`` on other machines."""

from __future__ import annotations

import re
from pathlib import Path

RELEASE = Path("/etc/nv_tegra_release")
"""First line, for instance: ``# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, ...``."""

POWER_MODE = Path("/var/lib/nvpmodel/status")
"""State file of ``nvpmodel``, for instance ``pmode:0002``; unlike the command it needs no rights."""

_LONGEST = 4096
"""Bytes read of either file."""


def l4t_release(path: Path | None = None) -> str | None:
    """Return the version of Jetson Linux, for instance ``36.4.3``; ``None`` where there is none."""
    found = re.match(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _read(path or RELEASE))
    return f"{found[1]}.{found[2]}" if found else None


def power_mode(path: Path | None = None) -> str | None:
    """Return the number of the power mode, as in ``nvpmodel -q``, for instance ``2``; ``None`` where there is none."""
    found = re.search(r"pmode:0*(\d+)", _read(path or POWER_MODE))
    return found[1] if found else None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode(errors="replace")
    except OSError:
        return ""

"""Temperatures, clock rates and throttling of this machine, from Linux's /sys."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import fmean

from edge_occ.inspection.snapshot import MachineState

_MAX_BYTES = 128
"""Bytes read of a file; each holds one number or name."""
_MAX_ENTRIES = 256
"""Zones, devices or processors looked at, of each kind."""
_PLAUSIBLE = range(-55_000, 150_001)
"""Millidegrees; the sensor of a part without power may show -256 degrees."""
_LOWERS_CLOCKS = re.compile(r"throttle|cpufreq|devfreq|processor|powerclamp", re.IGNORECASE)
"""Types of cooling devices that cost speed, unlike a fan: ``cpufreq-cpu0``, Jetson's ``gpu-throttle-alert``."""


def read_machine(root: Path = Path("/sys")) -> MachineState:
    """Read the state of the machine; what is missing or cannot be read is left out.

    Args:
        root: where ``class`` and ``devices`` are.
    """
    thermal = root / "class" / "thermal"
    cpus = [
        clock
        for cpu in _entries(root / "devices" / "system" / "cpu", "cpu[0-9]*")
        if (clock := _share(cpu / "cpufreq" / "scaling_cur_freq", cpu / "cpufreq" / "cpuinfo_max_freq")) is not None
    ]
    devices = {
        device.name: clock
        for device in _entries(root / "class" / "devfreq", "*")
        if (clock := _share(device / "cur_freq", device / "max_freq")) is not None
    }
    cooling = [
        _number(device / "cur_state") or 0
        for device in _entries(thermal, "cooling_device*")
        if _LOWERS_CLOCKS.search(_text(device / "type"))
    ]
    return MachineState(
        _temperatures(thermal),
        {**({"cpu": fmean(cpus)} if cpus else {}), **devices},
        any(state > 0 for state in cooling),
    )


def _temperatures(thermal: Path) -> dict[str, float]:
    """Return degrees Celsius by type of the zone; the highest of several zones of one type."""
    found: dict[str, float] = {}
    for zone in _entries(thermal, "thermal_zone*"):
        millidegrees = _number(zone / "temp")
        if millidegrees in _PLAUSIBLE and millidegrees is not None:
            name = _text(zone / "type") or zone.name
            found[name] = max(millidegrees / 1000, found.get(name, -273.0))
    return found


def _share(current: Path, highest: Path) -> float | None:
    now, limit = _number(current), _number(highest)
    return None if now is None or not limit or now < 0 else now / limit


def _entries(folder: Path, pattern: str) -> Iterator[Path]:
    return islice(folder.glob(pattern), _MAX_ENTRIES)


def _number(path: Path) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    """Return the first bytes of a file, empty if it cannot be read: drivers raise errors of many kinds."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""

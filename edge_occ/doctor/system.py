"""Checks of the machine itself: board, processors, memory, power mode, clock."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_occ.doctor.machine import Machine, jetpack, read_text
from edge_occ.doctor.probing import ProbeResult, run_program
from edge_occ.doctor.report import NOTE, OK, WRONG, Check
from engines.cuda.jetson import power_mode
from engines.processors import cpu_quota, usable_processors

_ENOUGH_MEMORY = 1 << 30
"""Bytes that an engine build needs, about, with the first pictures of a camera."""


def check_system(machine: Machine) -> list[Check]:
    """Check everything that system files and two commands show."""
    checks = [check_board(machine), check_processors(), check_memory(read_text("/proc/meminfo"))]
    if machine.jetson:
        low, high = (read_text(f"/sys/devices/system/cpu/cpu0/cpufreq/scaling_{end}_freq") for end in ("min", "max"))
        checks.append(check_power(machine, power_mode(), read_text("/etc/nvpmodel.conf"), steady=low == high != ""))
    timedatectl = ["timedatectl", "show", "-p", "NTPSynchronized", "--value"]
    return [*checks, check_clock(machine, run_program(timedatectl))]


def check_board(machine: Machine) -> Check:
    """Check board, JetPack and distribution."""
    release = f"JetPack {jetpack(machine.l4t)} (Jetson Linux {machine.l4t})" if machine.l4t else ""
    parts = [machine.board, machine.arch, release, machine.system, "in a container" if machine.container else ""]
    found = ", ".join(filter(None, parts))
    if machine.too_old:
        # Without a command: JetPack 6 is flashed, and there is none for a Xavier or the first Nano.
        why = "its TensorRT is older than 10.3; flash JetPack 6.2 or newer, which needs an Orin or a Thor"
        return Check("machine", WRONG, f"{found}; {why}")
    return Check("machine", OK, found)


def check_processors(root: Path = Path("/")) -> Check:
    """Check the processors that this process can use; ``root`` holds ``proc`` and ``sys``."""
    quota = cpu_quota(root)
    found = f"{usable_processors(root)} of {os.cpu_count() or 1} may be used"
    if quota is not None and quota < len(os.sched_getaffinity(0)):
        # With a part of a processor the process is stopped in every tenth of a second.
        return Check("processors", NOTE, f"{found}: this container's quota is {quota:g}")
    return Check("processors", OK, found)


def check_memory(meminfo: str) -> Check:
    """Check the memory that is available, by ``/proc/meminfo``."""
    sizes = {name: int(size) << 10 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)}
    available = sizes.get("MemAvailable")
    if available is None:
        return Check("memory", NOTE, "unknown: not in /proc/meminfo")
    found = f"{available / 1e9:.1f} GB free of {sizes['MemTotal'] / 1e9:.1f} GB"
    if available < _ENOUGH_MEMORY:
        return Check("memory", NOTE, f"{found}; building an engine may need more: close other programs")
    return Check("memory", OK, found)


def check_power(machine: Machine, mode: str | None, configuration: str, *, steady: bool) -> Check:
    """Check the power mode of a Jetson, and whether its clocks are fixed.

    Args:
        machine: the Jetson.
        mode: number of the mode.
        configuration: text of ``/etc/nvpmodel.conf``, which names the modes.
        steady: whether the processor's lowest and highest clock are the same, as after ``jetson_clocks``.
    """
    if mode is None:
        return Check("power mode", NOTE, "unknown", machine.sudo("nvpmodel -q"))
    names = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", configuration))
    name = names.get(mode, f"mode {mode}")
    # The number of the mode without a limit differs: 0 on an Orin NX, 2 on an Orin Nano.
    best = sorted((n for n in names if names[n].startswith("MAXN")), key=lambda n: "SUPER" not in names[n])
    if best and not name.startswith("MAXN"):
        found = f"{name}, and {names[best[0]]} would be faster if supply and cooling are fit for it"
        return Check("power mode", NOTE, found, machine.sudo(f"nvpmodel -m {best[0]}"))
    if not steady:
        found = f"{name}; clocks follow the load, which makes times uneven"
        return Check("power mode", NOTE, found, machine.sudo("jetson_clocks"))
    return Check("power mode", OK, f"{name}, clocks steady")


def check_clock(machine: Machine, result: ProbeResult) -> Check:
    """Check by ``timedatectl`` whether the clock is synchronised: every message carries a time."""
    synchronised = "" if result.fault else result.output.strip()
    if synchronised == "yes":
        return Check("clock", OK, "synchronised")
    if synchronised == "no":
        found = "not synchronised, and messages carry its time"
        return Check("clock", WRONG, found, machine.sudo("timedatectl set-ntp true"))
    return Check("clock", NOTE, "unknown whether it is synchronised; messages carry its time")

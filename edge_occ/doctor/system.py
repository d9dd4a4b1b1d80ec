"""The machine itself: board, power mode, memory, clock."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_occ.doctor.machine import Machine, read_text
from edge_occ.doctor.probing import Answer, ask
from edge_occ.doctor.report import Check, State
from engines.cuda.jetson import power_mode
from engines.processors import cpu_quota, usable_processors

_ENOUGH_MEMORY = 1 << 30
"""Bytes: an engine build takes about so much, and the first pictures of a camera are held beside it."""


def check_system(machine: Machine) -> list[Check]:
    """Everything about this machine that files and two commands tell."""
    checks = [check_board(machine), check_processors(), check_memory(read_text("/proc/meminfo"))]
    if machine.jetson:
        limits = [read_text(f"/sys/devices/system/cpu/cpu0/cpufreq/scaling_{which}_freq") for which in ("min", "max")]
        steady = limits[0] == limits[1] != ""
        checks.append(check_power(machine, power_mode(), read_text("/etc/nvpmodel.conf"), steady=steady))
    checks.append(check_clock(machine, ask(["timedatectl", "show", "-p", "NTPSynchronized", "--value"])))
    return [check for check in checks if check is not None]


def check_board(machine: Machine) -> Check:
    """Processor, board, JetPack and distribution."""
    release = f"JetPack {machine.jetpack} (Jetson Linux {machine.l4t})" if machine.l4t else ""
    parts = [machine.board, machine.arch, release, machine.system, "in a container" if machine.container else ""]
    found = ", ".join(part for part in parts if part)
    if machine.too_old:
        # No command does it: JetPack 6 comes by flashing the board, and never comes to a Xavier or the first Nano.
        why = "its TensorRT is older than 10.3; flash JetPack 6.2 or newer, which needs an Orin or a Thor"
        return Check("machine", State.WRONG, f"{found}; {why}")
    return Check("machine", State.OK, found)


def check_processors(root: Path = Path("/")) -> Check:
    """Processors that engines and training take here.

    Args:
        root: the file system's root, which holds ``proc`` and ``sys``.
    """
    usable, all_, quota = usable_processors(root), os.cpu_count() or 1, cpu_quota(root)
    found = f"{usable} of {all_} may be used"
    if quota is not None and quota < len(os.sched_getaffinity(0)):
        # A part of a processor is a pause in every tenth of a second.
        return Check("processors", State.NOTE, f"{found}: this container's quota is {quota:g}")
    return Check("processors", State.OK, found)


def check_memory(meminfo: str) -> Check:
    """Memory that programs can still have, by ``/proc/meminfo``."""
    sizes = {name: int(size) << 10 for name, size in re.findall(r"^(\w+):\s+(\d+) kB$", meminfo, re.MULTILINE)}
    if not {"MemAvailable", "MemTotal"} <= sizes.keys():
        return Check("memory", State.NOTE, "not told by /proc/meminfo")
    available, total = sizes["MemAvailable"], sizes["MemTotal"]
    found = f"{available / 1e9:.1f} GB free of {total / 1e9:.1f} GB"
    if available < _ENOUGH_MEMORY:
        return Check("memory", State.NOTE, f"{found}; building an engine may want more: close other programs")
    return Check("memory", State.OK, found)


def check_power(machine: Machine, mode: str | None, configuration: str, *, steady: bool) -> Check:
    """Power mode of a Jetson, and whether its clocks stand still.

    Args:
        machine: where.
        mode: number of the mode.
        configuration: text of ``/etc/nvpmodel.conf``, which names the modes.
        steady: whether the processor's lowest and highest clock are the same, which ``jetson_clocks`` does.
    """
    if mode is None:
        return Check("power mode", State.NOTE, "not told", machine.sudo("nvpmodel -q"))
    names = dict(re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", configuration))
    name = names.get(mode, f"mode {mode}")
    # Which number has no limit differs: 0 on an Orin NX, 2 on an Orin Nano.
    best = [number for number, label in names.items() if label.startswith("MAXN")]
    best.sort(key=lambda number: "SUPER" not in names[number])
    if best and not name.startswith("MAXN"):
        found = f"{name}, and {names[best[0]]} would be faster if supply and cooling are fit for it"
        return Check("power mode", State.NOTE, found, machine.sudo(f"nvpmodel -m {best[0]}"))
    if not steady:
        found = f"{name}; clocks follow the load, which makes times uneven"
        return Check("power mode", State.NOTE, found, machine.sudo("jetson_clocks"))
    return Check("power mode", State.OK, f"{name}, clocks steady")


def check_clock(machine: Machine, answer: Answer) -> Check:
    """Whether the clock is synchronised: every message carries a time."""
    told = answer.output.strip()
    if answer.fault or told not in ("yes", "no"):
        return Check("clock", State.NOTE, "whether it is synchronised cannot be told here; messages carry its time")
    if told == "no":
        found = "not synchronised, and messages carry its time"
        return Check("clock", State.WRONG, found, machine.sudo("timedatectl set-ntp true"))
    return Check("clock", State.OK, "synchronised")

"""Python itself, and the packages that edge-occ requires of it."""

from __future__ import annotations

import re
from importlib import metadata

from edge_occ import __version__
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.report import Check, State

_OLDEST = (3, 10)

_ELSEWHERE = frozenset({"numpy", "opencv-python", "onnxruntime"})
"""Requirements with checks of their own; apt installs some of them under other names."""


def check_python(machine: Machine) -> Check:
    """Version and kind of Python, and whether it finds what JetPack installs."""
    version = ".".join(map(str, machine.python))
    if machine.venv:
        kind = f"virtual environment, with{'' if machine.system_site else 'out'} system packages"
    else:
        kind = "no virtual environment"
    found = f"{version}, {kind}"
    if machine.python < _OLDEST:
        return Check("python", State.WRONG, f"{found}; 3.10 or newer is needed", needed=True)
    if machine.jetson and not machine.sees_system_packages:
        why = "JetPack's tensorrt and OpenCV are not seen by it"
        return Check("python", State.WRONG, f"{found}; {why}", machine.see_system_packages())
    if machine.managed and not machine.venv:
        fix = "python3 -m venv --system-site-packages ~/edge-occ && ~/edge-occ/bin/pip install edge-occ"
        return Check("python", State.NOTE, f"{found}; pip installs nothing into it", fix)
    return Check("python", State.OK, found)


def check_packages(machine: Machine, requirements: list[str] | None, installed: dict[str, str]) -> Check:
    """Whether the plain packages are there.

    Args:
        machine: where.
        requirements: what edge-occ's metadata require, as in ``requires()``; ``None`` if it is not installed.
        installed: versions of the packages that are there.
    """
    if requirements is None:
        return Check(
            "edge-occ", State.NOTE, f"{__version__} from its source, not installed; its requirements were not checked"
        )
    wanted = {}
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+)(?:>=([\w.]+))?", requirement)
        if found is not None and found[1] not in _ELSEWHERE:
            wanted[found[1]] = found[2] or "0"
    missing = [package for package in wanted if package not in installed]
    old = [name for name in wanted if name in installed and as_tuple(installed[name]) < as_tuple(wanted[name])]
    if not missing and not old:
        return Check("edge-occ", State.OK, f"{__version__}, with the {len(wanted)} plain packages that it needs")
    fix = machine.pip_install(" ".join(f"'{package}>={wanted[package]}'" for package in missing + old))
    words = [f"no {package}" for package in missing]
    words += [f"{package} {installed[package]}, older than {wanted[package]}" for package in old]
    return Check(
        "edge-occ", State.MISSING if missing else State.WRONG, f"{__version__}: {', '.join(words)}", fix, needed=True
    )


def read_packages() -> tuple[list[str] | None, dict[str, str]]:
    """What edge-occ's metadata require without any extra, and the versions of those that are there."""
    try:
        declared = metadata.requires("edge-occ") or []
    except metadata.PackageNotFoundError:
        return None, {}
    requirements = [requirement for requirement in declared if ";" not in requirement]
    names = [re.split(r"[^\w.-]", requirement)[0] for requirement in requirements]
    return requirements, {name: version for name in names if (version := version_of(name)) is not None}


def version_of(package: str) -> str | None:
    """Version of an installed package by its metadata, without importing it; ``None`` if it is not there."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def as_tuple(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, for comparing: ``10.3.0.26`` is ``(10, 3, 0, 26)``."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()

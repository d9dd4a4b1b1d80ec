"""This machine and this Python, and the commands that install packages on them."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from engines.cuda.jetson import l4t_release

_LIMIT = 1 << 16

# Jetson Linux to JetPack: jetson-containers' l4t_version.py and NVIDIA's release archive.
_JETPACK_6 = {"36.2.0": "6.0 DP", "36.3.0": "6.0", "36.4.0": "6.1", "36.4.3": "6.2", "36.4.4": "6.2.1"}
_LATER = {"36.4.7": "6.2.1", "36.5.0": "6.2.2", "38.2.0": "7.0", "38.4.0": "7.1", "39.2.0": "7.2", "39.2.1": "7.2.1"}
_JETPACKS = {**_JETPACK_6, **_LATER}
_MAJORS = {34: "5", 35: "5", 36: "6", 38: "7", 39: "7"}

FIRST_L4T = (36, 4)
"""Jetson Linux of JetPack 6.1, the first with a TensorRT (10.3) and a Python (3.10) that edge-occ can use."""

NEW_ENVIRONMENT = "python3 -m venv --system-site-packages ~/edge-occ && ~/edge-occ/bin/pip install edge-occ"
"""The command for a new virtual environment."""


@dataclass(frozen=True)
class Machine:
    """Facts about the machine that several checks need.

    Attributes:
        system: the distribution's name and version.
        board: model of the board, empty on a PC.
        l4t: release of Jetson Linux, for instance ``36.4.3``; ``None`` where there is none.
        prefix: folder of the virtual environment.
        writable: whether this user can write to it.
        system_site: whether it sees the system's packages.
        system_python: whether this Python is the system's own.
        managed: whether the system forbids pip to install outside a virtual environment.
        root: whether this user needs no sudo.
    """

    arch: str = "x86_64"
    system: str = "Linux"
    board: str = ""
    l4t: str | None = None
    executable: str = "python3"
    python: tuple[int, int, int] = (3, 10, 0)
    prefix: str = "/usr"
    writable: bool = True
    venv: bool = False
    system_site: bool = False
    system_python: bool = True
    managed: bool = False
    apt: bool = True
    root: bool = False
    container: bool = False

    @property
    def jetson(self) -> bool:
        """True on a Jetson; a container may lack the release, but it has the board."""
        return self.l4t is not None or self.board.startswith("NVIDIA")

    @property
    def too_old(self) -> bool:
        """True for JetPack 6.0 or older."""
        return self.l4t is not None and _numbers(self.l4t) < FIRST_L4T

    @property
    def sees_system_packages(self) -> bool:
        """True if this Python finds the Python packages that apt installs."""
        return self.system_python and (self.system_site or not self.venv)

    def sudo(self, command: str) -> str:
        """Return the command with the rights of root."""
        return command if self.root else f"sudo {command}"

    def apt_install(self, packages: str) -> str | None:
        """Return the command that installs system packages; ``None`` where there is no apt."""
        return self.sudo(f"apt install {packages}") if self.apt else None

    def pip(self, arguments: str, variables: str = "") -> str:
        """Return a pip command for this Python, with environment variables if given as ``NAME=value``."""
        return self._to_prefix(f"{variables and f'env {variables} '}{shlex.quote(self.executable)} -m pip {arguments}")

    def pip_install(self, requirements: str, variables: str = "") -> str:
        """Return the command that installs Python packages and keeps the present ones.

        On a Jetson numpy stays below 2, for which the system's OpenCV was built.
        """
        pin = "'numpy<2' " if self.jetson and self.sees_system_packages else ""
        return self.pip(f"install {pin}{requirements}", variables)

    def install(self, apt_package: str, pip_package: str) -> str:
        """Return the command for a package that JetPack has in apt: by apt on a Jetson, else by pip."""
        by_apt = self.apt_install(apt_package) if self.jetson and self.sees_system_packages else None
        return by_apt or self.pip_install(pip_package)

    def see_system_packages(self) -> str:
        """Return the command that gives Python access to apt's packages; an environment's content does not change."""
        if self.system_python:
            return self._to_prefix(f"/usr/bin/python3 -m venv --system-site-packages {shlex.quote(self.prefix)}")
        return f"/usr/bin/{NEW_ENVIRONMENT}"

    def _to_prefix(self, command: str) -> str:
        """Add the rights to change the virtual environment; without one pip installs to the home folder."""
        return self.sudo(command) if self.venv and not self.writable else command


def jetpack(l4t: str) -> str:
    """Return JetPack's version for a release of Jetson Linux; only the major version of an unknown release."""
    major = _numbers(l4t)[0]
    return _JETPACKS.get(l4t) or _MAJORS.get(major) or ("newer than 7" if major > max(_MAJORS) else "4 or older")


def read_text(path: str) -> str:
    """Return the content of a small system file; empty if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_LIMIT).decode(errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_machine() -> Machine:
    """Collect the facts about this machine."""
    # platform.freedesktop_os_release needs Python 3.10, and an older Python gets a diagnosis too.
    system = re.search(r"^PRETTY_NAME=[\"']?(.*?)[\"']?$", read_text("/etc/os-release"), re.MULTILINE)
    site = re.search(r"include-system-site-packages\s*=\s*true", read_text(f"{sys.prefix}/pyvenv.cfg"), re.IGNORECASE)
    return Machine(
        arch=platform.machine(),
        system=system[1] if system else "Linux",
        board=read_text("/proc/device-tree/model"),
        l4t=l4t_release(),
        executable=sys.executable,
        python=sys.version_info[:3],
        prefix=sys.prefix,
        writable=os.access(sys.prefix, os.W_OK),
        venv=sys.prefix != sys.base_prefix,
        system_site=site is not None,
        system_python=sys.base_prefix == "/usr",
        managed=Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").is_file(),
        apt=shutil.which("apt") is not None,
        root=os.geteuid() == 0,
        container=any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")),
    )


def _numbers(l4t: str) -> tuple[int, ...]:
    return tuple(int(number) for number in l4t.split(".") if number)

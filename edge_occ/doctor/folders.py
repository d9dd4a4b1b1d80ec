"""Checks of the folders that edge-occ writes to."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from pathlib import Path

from edge_occ.doctor.machine import Machine
from edge_occ.doctor.probing import run_python
from edge_occ.doctor.report import NOTE, OK, WRONG, Check

_CACHE = "engine cache"
_BUILD = 1 << 30
"""Bytes that an engine build needs, with its temporary files."""


def check_folders(machine: Machine) -> list[Check]:
    """Check the cache of built engines and the current folder."""
    # In a child, because the engines' modules import numpy.
    result = run_python("from engines.base import default_cache\nreport(path=str(default_cache()))")
    if result.fault:
        return [Check(_CACHE, NOTE, f"could not be checked: {result.fault}"), check_current(Path.cwd())]
    return [check_cache(machine, Path(result.facts["path"])), check_current(Path.cwd())]


def check_cache(machine: Machine, path: Path) -> Check:
    """Check the cache, or the nearest folder above it that exists; built engines are code of this user alone."""
    # os.path, as Path.is_dir raises where a folder above cannot be entered.
    existing = next(folder for folder in (path, *path.parents) if os.path.isdir(folder))  # noqa: PTH112
    status, free, quoted = existing.stat(), shutil.disk_usage(existing).free, shlex.quote(str(path))
    found = f"{path}, {free / 1e9:.1f} GB free"
    foreign = existing == path and status.st_uid not in (os.geteuid(), 0)
    if foreign or not os.access(existing, os.W_OK | os.X_OK):
        why = "belongs to another user" if foreign else "no permission to write"
        return Check(_CACHE, WRONG, f"{found}; {why}", machine.sudo(f"install -d -m 700 -o $(id -un) {quoted}"))
    if existing == path and status.st_mode & stat.S_IWOTH:
        why = "everybody may write to it, and built engines are code"
        return Check(_CACHE, WRONG, f"{found}; {why}", f"chmod o-w {quoted}")
    if free < _BUILD:
        why = "building an engine needs 1 GB; XDG_CACHE_HOME may name a larger disk"
        return Check(_CACHE, WRONG, f"{found}; {why}")
    return Check(_CACHE, OK, found)


def check_current(path: Path) -> Check:
    """Check the current folder, which bundles, reports and messages are written to by default."""
    found = f"{path}, {shutil.disk_usage(path).free / 1e9:.1f} GB free"
    if not os.access(path, os.W_OK | os.X_OK):
        return Check("this folder", NOTE, f"{found}; no permission to write", "cd ~")
    return Check("this folder", OK, found)

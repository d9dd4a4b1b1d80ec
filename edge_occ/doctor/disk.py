"""Folders that edge-occ writes to."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from edge_occ.doctor.machine import Machine
from edge_occ.doctor.probing import ask_python
from edge_occ.doctor.report import Check, State

_CACHE = "engine cache"
_WANTED = 1 << 30
"""Bytes an engine build wants, with its temporary files."""


@dataclass(frozen=True)
class Folder:
    """A folder, or where it would be made.

    Attributes:
        path: of the folder.
        existing: itself, or the nearest folder above it that exists.
        writable: whether this user may write to that.
        foreign: whether the folder itself exists and belongs to another user than this one and root.
        shared: whether the folder itself exists and everybody may write to it.
        free: bytes.
    """

    path: Path
    existing: Path
    writable: bool
    foreign: bool
    shared: bool
    free: int


def check_folders(machine: Machine) -> list[Check]:
    """The cache of built engines, and the current folder."""
    # In a child, as the engines' modules need numpy.
    answer = ask_python("from engines.base import default_cache\nsay(path=str(default_cache()))")
    if answer.fault:
        cache = Check(_CACHE, State.NOTE, f"could not be looked at: {answer.fault}")
    else:
        cache = check_cache(machine, read_folder(Path(answer.facts["path"])))
    return [cache, check_here(read_folder(Path.cwd()))]


def read_folder(path: Path) -> Folder:
    """Look at a folder and make nothing."""
    # os.path, as Path.is_dir raises where a folder above may not be entered.
    existing = next(folder for folder in (path, *path.parents) if os.path.isdir(folder))  # noqa: PTH112
    status, itself = existing.stat(), existing == path
    return Folder(
        path,
        existing,
        writable=os.access(existing, os.W_OK | os.X_OK),
        foreign=itself and status.st_uid not in (os.geteuid(), 0),
        shared=itself and bool(status.st_mode & stat.S_IWOTH),
        free=shutil.disk_usage(existing).free,
    )


def check_cache(machine: Machine, folder: Folder) -> Check:
    """Built engines are code, so that nobody else may write them."""
    name, found, quoted = (
        "engine cache",
        f"{folder.path}, {folder.free / 1e9:.1f} GB free",
        shlex.quote(str(folder.path)),
    )
    if not folder.writable or folder.foreign:
        why = "belongs to another user" if folder.foreign else "no permission to write"
        fix = machine.sudo(f"install -d -m 700 -o $(id -un) {quoted}")
        return Check(name, State.WRONG, f"{found}; {why}", fix)
    if folder.shared:
        why = "everybody may write to it, and built engines are code"
        return Check(name, State.WRONG, f"{found}; {why}", f"chmod o-w {quoted}")
    if folder.free < _WANTED:
        why = "building an engine wants 1 GB; XDG_CACHE_HOME may name a larger disk"
        return Check(name, State.WRONG, f"{found}; {why}")
    return Check(name, State.OK, found)


def check_here(folder: Folder) -> Check:
    """Bundles, reports and messages are written to the current folder unless told otherwise."""
    found = f"{folder.path}, {folder.free / 1e9:.1f} GB free"
    if not folder.writable:
        return Check("this folder", State.NOTE, f"{found}; no permission to write", "cd ~")
    return Check("this folder", State.OK, found)

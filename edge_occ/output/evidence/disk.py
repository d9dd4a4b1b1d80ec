"""Whole files and folders on disk: what has its name is complete, even if the process is killed or the power fails."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from edge_occ.common.files import sync_folder

_RESERVE, _RESERVE_SHARE = 256_000_000, 20
"""Bytes that are left free on a disk, at most a twentieth of it: events that wait for the broker are worth more."""

_LEFTOVER = re.compile(r"\.[0-9a-f]{12}\.part")


def room(folder: Path) -> int:
    """Return the bytes that may be written to the disk of a folder."""
    disk = os.statvfs(folder)
    reserve = min(_RESERVE, disk.f_blocks * disk.f_frsize // _RESERVE_SHARE)
    return disk.f_bavail * disk.f_frsize - reserve


def write_folder(path: Path, files: Mapping[str, bytes], workplace: Path) -> None:
    """Write a folder of files that appears at once and whole.

    Args:
        path: the new folder, which must not exist; those above it are made if needed.
        files: contents by name.
        workplace: existing folder of the same disk, in which it is prepared.

    Raises:
        OSError: nothing has appeared, but folders above it.
    """
    prepared = _hidden(workplace)
    prepared.mkdir()
    try:
        for name, content in files.items():
            _write(prepared / name, content)
        sync_folder(prepared)
        _appear(prepared, path)
    except BaseException:
        shutil.rmtree(prepared, ignore_errors=True)
        raise


def write_file(path: Path, content: bytes, workplace: Path) -> None:
    """Write a file that appears at once and whole, as :func:`write_folder`; one at ``path`` is replaced."""
    prepared = _hidden(workplace)
    try:
        _write(prepared, content)
        _appear(prepared, path)
    except BaseException:
        prepared.unlink(missing_ok=True)
        raise


def remove_folder(path: Path, workplace: Path) -> None:
    """Remove a folder that disappears at once and whole; one that is not there is no error.

    Raises:
        OSError: it is there, or a remainder of it in the workplace.
    """
    removed = _hidden(workplace)
    try:
        path.rename(removed)
    except FileNotFoundError:
        return
    shutil.rmtree(removed)


def remove_leftovers(workplace: Path) -> None:
    """Remove what the process left behind when it was killed in one of these functions.

    Raises:
        OSError: a leftover cannot be removed.
    """
    for path in list(workplace.iterdir()):
        if not _LEFTOVER.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _hidden(workplace: Path) -> Path:
    return workplace / f".{secrets.token_hex(6)}.part"


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _appear(prepared: Path, path: Path) -> None:
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    prepared.rename(path)
    for folder in (path.parent, *(folder.parent for folder in made)):
        sync_folder(folder)

"""Versions of a bundle: ``NAME.occ`` is the current one, and ``NAME.versions/`` next to it holds earlier ones.

A file there is named by its place in the order, the time at which it was put aside, and the first digits of its sha256:
``0003-20260102T030405Z-0123456789abcdef.occ``.

Both changes end with one rename, which the file system does as a whole.  So a process that is killed at any moment
leaves a complete ``NAME.occ``, the old one or the new one.  Before a replacement the current file is linked into the
folder; if the process ends there, the folder has the current content too, which a rollback passes over.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge_occ.bundle.bundle import Bundle, read_bundle, save_bundle
from edge_occ.common.errors import BundleRefused, InputError
from edge_occ.common.files import atomic_write, sync_folder

MAX_VERSIONS = 5
"""Largest number of earlier versions that are kept."""

MAX_BYTES = 1 << 30
"""Largest size of them together; the last one is kept whatever its size."""

_NAME = re.compile(r"(\d{4,9})-(\d{8}T\d{6}Z)-([0-9a-f]{16})\.occ")
_TIME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Version:
    """An earlier version of a bundle.

    Attributes:
        path: the file.
        number: place in the order, the highest is the last one.
        put_aside_at: time at which another one took its place, UTC.
        digest: first 16 digits of the file's sha256.
    """

    path: Path
    number: int
    put_aside_at: datetime
    digest: str


def versions_of(bundle: Path) -> list[Version]:
    """Return the earlier versions of a bundle, the last one first; other files in the folder are passed over."""
    folder = _folder(bundle)
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        name = _NAME.fullmatch(path.name)
        if name is not None and path.is_file():
            at = datetime.strptime(name[2], _TIME).replace(tzinfo=timezone.utc)
            found.append(Version(path, int(name[1]), at, name[3]))
    return sorted(found, key=lambda version: version.number, reverse=True)


def replace_bundle(path: Path, bundle: Bundle) -> None:
    """Write a checked bundle in the place of the current one, which is kept.

    Raises:
        InputError: the folder of the versions or the bundle cannot be written.
    """
    if path.exists():
        _keep(path)
    save_bundle(path, bundle)
    _prune(path)


def roll_back(path: Path) -> Version:
    """Put the previous version in the place of the current one, which is then gone.

    Returns:
        What was put back; its file is now ``path``.

    Raises:
        InputError: there is no bundle, no earlier version, or the folder cannot be written.
        BundleRefused: the earlier version is damaged; the current one stays.
    """
    if not path.is_file():
        raise InputError(f"a bundle at {path}", "no such file", "name the bundle that was recalibrated")
    current = file_digest(path)
    for version in versions_of(path):
        if current.startswith(version.digest):
            continue
        if not file_digest(version.path).startswith(version.digest):
            raise BundleRefused(
                f"{version.path} with sha256 {version.digest}...",
                "another content",
                f"remove it, and type the same command for the version before; {path.name} is unchanged",
            )
        read_bundle(version.path)
        try:
            version.path.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise _unwritable(path.parent, error) from error
        return version
    raise InputError(
        f"an earlier version of {path.name} in {_folder(path)}", "none", "copy the bundle from where it was trained"
    )


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _folder(bundle: Path) -> Path:
    return bundle.with_suffix(".versions")


def _keep(path: Path) -> None:
    """Put the current version into the folder; nothing if it is there as the last one."""
    digest, known = file_digest(path)[:16], versions_of(path)
    if known and known[0].digest == digest:
        return
    number = known[0].number + 1 if known else 1
    kept = _folder(path) / f"{number:04}-{datetime.now(timezone.utc):{_TIME}}-{digest}.occ"
    try:
        kept.parent.mkdir(exist_ok=True)
        try:
            os.link(path, kept)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            with path.open("rb") as source, atomic_write(kept) as file:
                shutil.copyfileobj(source, file)
        sync_folder(kept.parent)
    except OSError as error:
        raise _unwritable(kept.parent, error) from error


def _prune(path: Path) -> None:
    """Remove the oldest versions beyond the limits."""
    total = 0
    for place, version in enumerate(versions_of(path)):
        total += version.path.stat().st_size
        if place >= MAX_VERSIONS or (place > 0 and total > MAX_BYTES):
            version.path.unlink(missing_ok=True)


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"a folder {folder} that can be written",
        f"{error.strerror or error}",
        "make room or change its permissions, or write to another place with --out; the bundle is unchanged",
    )

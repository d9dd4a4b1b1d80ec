"""Files of a data set: bounded reads, missing names, hashes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edge_occ.common.errors import InputError

_CHUNK = 2**20

Layout = tuple[tuple[str, ...], ...]
"""The content of a folder: one name of each group must exist; a name that ends in ``/`` is a folder."""


def read_bounded(path: Path, max_bytes: int, advice: str) -> bytes:
    """Read a whole file.

    Args:
        path: a regular file.
        max_bytes: a larger file is not the expected one and is not read.
        advice: where to get the right file.

    Raises:
        InputError: the file cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(max_bytes) if size <= max_bytes else b""
    except OSError as error:
        raise InputError(f"a file at {path}", str(error.strerror), advice) from None
    if size > max_bytes:
        raise InputError(f"at most {max_bytes:,} bytes in {path}", f"{size:,} bytes", advice)
    return content


def missing(folder: Path, layout: Layout) -> list[str]:
    """List the first name of each group of which the folder has none."""
    return [group[0] for group in layout if not any(_is_there(folder, name) for name in group)]


def first_there(folder: Path, group: tuple[str, ...]) -> Path:
    """Return the first of a group of names that exists in a folder; at least one must."""
    return folder / next(name for name in group if _is_there(folder, name))


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, read in pieces.

    Raises:
        InputError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
    except OSError as error:
        raise InputError(f"a file at {path}", str(error.strerror), "check its name and permissions") from None
    return digest.hexdigest()


def _is_there(folder: Path, name: str) -> bool:
    return (folder / name).is_dir() if name.endswith("/") else (folder / name).is_file()

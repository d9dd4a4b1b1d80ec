"""Files that this program wrote, told from everything else: nothing else is removed or replaced.

What a person keeps may be called like what this program writes: pictures in ``bottle.train`` beside ``bottle.occ``, a
page ``bottle.html``.  So folders are not removed with whatever is in them, and every place is looked at before the
work, not after.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from edge_occ.bundle.bundle import MANIFEST
from edge_occ.common.errors import InputError

_PAGE_MARK = b"<footer>Written by edge-occ "
"""Stands at the end of every page that this program writes."""

_ENDS = 512
_ZIP, _ZIP_HEADER = b"PK\x03\x04", 30


def foreign(folder: Path, own: re.Pattern[str]) -> Path | None:
    """Something in a folder that this program does not write there, or the place itself if it is no folder.

    Args:
        folder: need not exist.
        own: matches the whole names of the files that it writes.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return folder
    entries = sorted(folder.iterdir()) if folder.exists() else []
    return next((path for path in entries if not (own.fullmatch(path.name) and path.is_file())), None)


def remove_own(folder: Path, own: re.Pattern[str]) -> None:
    """Remove the files of a folder that this program writes there, and the folder if nothing else is in it."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if own.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
    with suppress(OSError):  # something else is in it
        folder.rmdir()


def require_own_page(path: Path, option: str) -> None:
    """Find out whether a page may be written, before the work.

    Raises:
        InputError: something else is there.
    """
    if path.exists() and _PAGE_MARK not in _bytes(path, from_end=True):
        raise InputError(
            f"no file or an earlier report at {path}",
            "something that edge-occ did not write",
            f"move it away, or choose another place with {option}",
        )


def require_own_bundle(path: Path) -> None:
    """Find out whether a bundle may be written, before the work.

    Raises:
        InputError: something else is there.
    """
    head = _bytes(path)
    name = head[_ZIP_HEADER : _ZIP_HEADER + len(MANIFEST)]
    if path.exists() and not (head.startswith(_ZIP) and name == MANIFEST.encode()):
        raise InputError(
            f"no file or an earlier bundle at {path}",
            "something that edge-occ did not write, or a bundle that is damaged",
            "move it away, or choose another place with --out",
        )


def check_writable(folder: Path, option: str) -> None:
    """Make a folder and try to write to it, before the work.

    Raises:
        InputError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=folder, prefix=".", suffix=".probe"):
            pass
    except OSError as error:
        raise InputError(
            f"a folder to write to at {folder}", str(error.strerror), f"choose another place with {option}"
        ) from error


def require_outside(place: Path, data: Path, option: str) -> None:
    """What is written among pictures would be taken for one of them, or hide them.

    Raises:
        InputError: the place is the folder of the data, or inside it.
    """
    folder = data.resolve()
    if folder in (place.resolve(), *place.resolve().parents):
        raise InputError(
            f"a place outside of the data folder {data}",
            f"{place}, where this command writes",
            f"choose one outside of it with {option}",
        )


def _bytes(path: Path, *, from_end: bool = False) -> bytes:
    """The first or last bytes of a file; nothing of anything else."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        if from_end:
            file.seek(max(0, path.stat().st_size - _ENDS))
        return file.read(_ENDS)

"""Recognition of the files that this program wrote, so that no others are removed or replaced.

A user's own files may have the same names: pictures in ``bottle.train`` next to ``bottle.occ``, a page ``bottle.html``.
So folders are not removed with unknown content, and every place is checked before the work.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from edge_occ.bundle.bundle import MANIFEST
from edge_occ.common.errors import InputError

_PAGE_MARK = b"<footer>Written by edge-occ "
"""Mark at the end of every page that this program writes."""

_ENDS = 512
_ZIP, _ZIP_HEADER = b"PK\x03\x04", 30


def foreign(folder: Path, own: re.Pattern[str]) -> Path | None:
    """Return an entry of a folder that is not this program's, the path itself if it is no folder, or ``None``.

    Args:
        folder: need not exist.
        own: pattern of the full names of the files that the program writes.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return folder
    entries = sorted(folder.iterdir()) if folder.exists() else []
    return next((path for path in entries if not (own.fullmatch(path.name) and path.is_file())), None)


def remove_own(folder: Path, own: re.Pattern[str]) -> None:
    """Remove this program's files from a folder, and then the folder if it is empty."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if own.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        folder.rmdir()


def require_own_page(path: Path, option: str) -> None:
    """Check before the work that a page may be written.

    Raises:
        InputError: another file has its place.
    """
    if path.exists() and _PAGE_MARK not in _bytes(path, from_end=True):
        raise InputError(
            f"no file or an earlier report at {path}",
            "something that edge-occ did not write",
            f"move it away, or choose another place with {option}",
        )


def require_own_bundle(path: Path) -> None:
    """Check before the work that a bundle may be written.

    Raises:
        InputError: another file has its place.
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
    """Create a folder and check before the work that it is writable.

    Raises:
        InputError: it cannot be created or written to.
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
    """Refuse a place of the output inside the data folder, where it would count as data.

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
    """Return the first or last bytes of a file; nothing if it is no file."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        if from_end:
            file.seek(max(0, path.stat().st_size - _ENDS))
        return file.read(_ENDS)

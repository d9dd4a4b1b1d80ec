"""Pictures as frames: found in folders, and read as 8-bit BGR."""

from __future__ import annotations

import glob
import itertools
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.decoding import Pixels, decode_as_stored, decode_image, to_8_bit, white_level
from edge_occ.common.errors import InputError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    {".apng", ".avif", ".bmp", ".dib", ".exr", ".gif", ".hdr", ".j2c", ".j2k", ".jfi", ".jfif", ".jif", ".jp2", ".jpc"}
    | {".jpe", ".jpeg", ".jpg", ".mpo", ".pam", ".pbm", ".pfm", ".pgm", ".pic", ".png", ".pnm", ".ppm", ".pxm", ".ras"}
    | {".sr", ".tif", ".tiff", ".webp"}
)
"""Names of pictures that OpenCV may read, in lower case; it recognises formats by their content, not by their names."""

_DARKEST_16_BIT_MAX = 4096
_MOST_NAMES, _MOST_DEEPER = 5, 10_000
"""Kinds of names that a message gives, and pictures in sub-folders that are counted."""


def read_image(path: str | Path, white: int | None = None) -> NDArray[np.uint8]:
    """Decode a picture to 8 bits.

    Args:
        path: the file.
        white: the value that becomes 255 in a 16-bit picture, as :func:`white_level` gives it for a set; ``None`` if
            nothing is known of the set: 65535.

    Returns:
        uint8 ``[height, width, 3]``, BGR.

    Raises:
        InputError: as :func:`decode_image`; or nothing is known of the set, and a 16-bit picture would turn almost
            black, as 12-bit data do.
    """
    pixels = decode_image(path).pixels
    if pixels.dtype == np.uint16 and white is None:
        highest = int(pixels.max())
        if highest < _DARKEST_16_BIT_MAX:
            raise InputError(
                "8-bit pictures, or 16-bit values that use the 16-bit range",
                f"{path} with a highest value of {highest}, which looks like 12-bit data in a 16-bit file",
                "train with 16-bit pictures of the same camera, which show the range, or save this one with 8 bits",
            )
    return to_8_bit(pixels, white or white_level(np.iinfo(np.uint16).max))


def read_unconverted(path: str | Path) -> Pixels:
    """Decode a picture whose values are no light, such as a mask, as it is: ``[height, width]`` or ``[height, width,
    channels]``, in the file's own type.

    Raises:
        InputError: the file is missing, empty, over 256 MiB, truncated, too large or no picture.
    """
    return decode_as_stored(Path(path))[0]


def find_images(folder_or_glob: str | Path) -> list[Path]:
    """Pictures directly in a folder, or matching a pattern (``**`` crosses folders), or the one file named.

    Returns:
        Paths of files with a suffix from :data:`IMAGE_SUFFIXES` in any case, hidden files left out, in natural order
        (``img2`` before ``img10``).  Other files and folders are counted in the log.

    Raises:
        InputError: there is nothing of that name, or no picture in it.
    """
    where = Path(folder_or_glob)
    try:
        if where.is_dir():
            found = list(where.iterdir())
        elif where.is_file():
            found = [where]
        else:
            found = [Path(p) for p in glob.glob(str(where), recursive=True)]  # noqa: PTH207 - Path.glob wants relative ones
        files = [path for path in found if path.is_file()]
    except OSError as error:
        raise InputError(f"pictures in {where}", str(error.strerror), "check its name and permissions") from None
    if not found and not where.is_dir():
        raise InputError("a folder of pictures", f"nothing named {where}", "check the path; relative ones start here")
    images = [path for path in files if is_image(path)]
    if not images:
        folders = len(found) - len(files)
        also = f" and {folders} folders" if folders else ""
        advice = "name one of these folders" if folders else "name a folder that holds .png, .jpg, .bmp or .tiff files"
        raise InputError(f"pictures in {where}", f"0 pictures among {len(files)} files{also}", advice)
    for left_out in _left_out(where, found, images):
        logger.warning("%s", left_out)
    return sorted(images, key=natural_order)


def is_image(path: Path) -> bool:
    """Return whether a file has the name of a picture that OpenCV may read, and is not hidden."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def _left_out(where: Path, found: Sequence[Path], images: Sequence[Path]) -> Iterator[str]:
    """Yield a sentence for each kind of other files and folders; hidden ones are left out."""
    visible = [path for path in found if not path.name.startswith(".")]
    others = {path for path in visible if path.is_file()} - set(images)
    if others:
        kinds = sorted({path.suffix.lower() or path.name for path in others})
        names = ", ".join(kinds[:_MOST_NAMES]) + (", ..." if len(kinds) > _MOST_NAMES else "")
        yield f"left out: {counted(len(others), 'file')} of {where} without the name of a picture ({names})"
    inside = itertools.chain.from_iterable(_pictures_inside(path) for path in visible if path.is_dir())
    deeper = set(itertools.islice(inside, _MOST_DEEPER)) - set(images)
    if deeper:
        folders = counted(len({path.parent for path in deeper}), "sub-folder")
        least = "at least " if len(deeper) == _MOST_DEEPER else ""
        pattern = where / "**" if where.is_dir() else f"{where.parent}/**"
        yield (
            f"left out: {least}{counted(len(deeper), 'picture')} in {folders} of {where}; "
            f"to take them too, name '{pattern}' or move them up"
        )


def _pictures_inside(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from filter(is_image, (Path(parent, name) for name in names))


def counted(number: int, what: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def natural_order(path: Path) -> tuple[list[str | int], str]:
    """Return a key by which paths are sorted as people do: ``img2`` before ``img10``."""
    # Splitting by a group puts the numbers at odd places, so that only like is compared with like.
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], str(path)

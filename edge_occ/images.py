"""Pictures from files, decoded in one way for training, evaluation and folder sources alike.

Every picture becomes 8-bit BGR by explicit rules: grey is copied to three equal channels, transparency is dropped,
16-bit values are divided by 257.  EXIF orientation is ignored: the camera over a line is fixed, so pixels stay where
the sensor put them.
"""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.errors import InputError

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are refused unread."""

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".dib", ".exr", ".gif", ".hdr", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pfm", ".pgm", ".pic"}
    | {".png", ".pnm", ".ppm", ".pxm", ".ras", ".sr", ".tif", ".tiff", ".webp"}
)
"""Names of pictures that OpenCV may read, in lower case."""

_DARKEST_16_BIT_MAX = 4096


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Decode a picture.

    Returns:
        uint8 ``[height, width, 3]``, BGR.

    Raises:
        InputError: the file is missing, empty, over 256 MiB, truncated or no picture; its pixels are neither 8-bit nor
            16-bit; or it holds 12-bit data that would turn almost black.
    """
    return read_image_with_facts(path)[0]


def read_image_with_facts(path: str | Path) -> tuple[NDArray[np.uint8], frozenset[str]]:
    """Decode a picture and tell what was converted on the way: any of ``grey``, ``alpha`` and ``16-bit``.

    Raises:
        InputError: as :func:`read_image`.
    """
    pixels = _decode(Path(path))
    facts = set()
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise InputError(
            "a grey or colour picture of 8 or 16 bits a channel",
            f"{path} with {channels} channels of {pixels.dtype}",
            "convert it to 8-bit PNG",
        )
    if channels == 1:
        facts.add("grey")
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    elif channels == 4:
        facts.add("alpha")
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR)
    if pixels.dtype == np.uint16:
        facts.add("16-bit")
        highest = int(pixels.max())
        if highest < _DARKEST_16_BIT_MAX:
            raise InputError(
                "16-bit values that use the 16-bit range",
                f"{path} with a highest value of {highest}, which looks like 12-bit data in a 16-bit file",
                "multiply all pictures of the set by the same factor, 16 for 12-bit data, and save them again",
            )
        pixels = (pixels.astype(np.uint32) + 128) // 257
    return np.asarray(pixels, dtype=np.uint8), frozenset(facts)


def read_unconverted(path: str | Path) -> NDArray[np.integer[Any] | np.floating[Any]]:
    """Decode a picture whose values are no light, such as a mask, as it is: ``[height, width]`` or ``[height, width,
    channels]``, in the file's own type.

    Raises:
        InputError: the file is missing, empty, over 256 MiB, truncated or no picture.
    """
    return _decode(Path(path))


def find_images(folder_or_glob: str | Path) -> list[Path]:
    """Pictures directly in a folder, or matching a pattern (``**`` crosses folders), or the one file named.

    Returns:
        Paths of files with a suffix from :data:`IMAGE_SUFFIXES` in any case, hidden files left out, in natural order
        (``img2`` before ``img10``).

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
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]
    if not images:
        folders = len(found) - len(files)
        also = f" and {folders} folders" if folders else ""
        advice = "name one of these folders" if folders else "name a folder that holds .png, .jpg, .bmp or .tiff files"
        raise InputError(f"pictures in {where}", f"0 pictures among {len(files)} files{also}", advice)
    return sorted(images, key=_natural)


def _decode(path: Path) -> NDArray[np.integer[Any] | np.floating[Any]]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise InputError("a picture", f"{path}: {error.strerror}", "check the path and its permissions") from None
    if size > MAX_FILE_BYTES:
        raise InputError("a picture of at most 256 MiB", f"{path} with {size / 2**20:.0f} MiB", "crop or compress it")
    # Older OpenCV fills the missing part of a JPEG file with grey, which would teach the model that grey is normal.
    cut_short = data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data
    try:
        pixels = None if cut_short else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # no bytes, or more pixels than OpenCV allows
        pixels = None
    if pixels is None:
        what = "which is empty" if not data else "which is damaged, incomplete or no picture"
        raise InputError("a picture that OpenCV can read", f"{path}, {what}", "remove it or save it again as PNG")
    return pixels


def _natural(path: Path) -> tuple[list[str | int], str]:
    # Splitting by a group puts the numbers at odd places, so that only like is compared with like.
    parts = re.split(r"(\d+)", str(path))
    return [int(part) if place % 2 else part.casefold() for place, part in enumerate(parts)], str(path)

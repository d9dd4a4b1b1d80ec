"""Picture files decoded, within bounds, by rules that are the same for training, evaluation and folder sources.

Every picture becomes BGR by explicit rules: grey is copied to three equal channels, transparency is dropped, and 16-bit
values are divided by one number for all pictures of a set.  Orientation is ignored, that of EXIF and that of TIFF: the
camera over a line is fixed, so pixels stay where the sensor put them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from edge_occ.common.image_header import UPRIGHT, Header, read_header
from edge_occ.common.tiff import with_orientation
from engines.limits import MAX_PIXELS

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are refused unread."""

Pixels: TypeAlias = "NDArray[np.integer[Any] | np.floating[Any]]"
"""As OpenCV decodes them; in quotes, as numpy 1.21 has no parameters for its types."""

_DEPTHS = (8, 10, 12, 14, 16)
"""Bits of the values that cameras give, which files of 16 bits hold."""


@dataclass(frozen=True)
class Picture:
    """A picture as its file holds it.

    Attributes:
        pixels: uint8 or uint16 ``[height, width, 3]``, BGR.
        conversions: what was or has to be converted to get 8-bit BGR, any of ``grey``, ``alpha`` and ``16-bit``.
        orientation: how a viewer would turn it, 1 to 8 as in EXIF; 1 is as stored, and as it is here.
    """

    pixels: Pixels
    conversions: frozenset[str]
    orientation: int


def decode_image(path: str | Path) -> Picture:
    """Decode a picture, and leave its values as they are.

    Raises:
        InputError: the file is missing, empty, over 256 MiB, truncated or no picture; it has over
            :data:`~engines.frame.MAX_PIXELS` pixels; or these are neither 8-bit nor 16-bit.
    """
    pixels, orientation = decode_as_stored(Path(path))
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in (1, 3, 4):
        raise InputError(
            "a grey or colour picture of 8 or 16 bits a channel",
            f"{path} with {channels} channels of {pixels.dtype}",
            "convert it to 8-bit PNG",
        )
    conversions = {"16-bit"} if pixels.dtype == np.uint16 else set()
    if channels == 1:
        conversions.add("grey")
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR))
    elif channels == 4:
        conversions.add("alpha")
        pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR))
    return Picture(pixels, frozenset(conversions), orientation)


def decode_as_stored(path: Path) -> tuple[Pixels, int]:
    """Decode a picture without any conversion.

    Returns:
        ``[height, width]`` or ``[height, width, channels]`` in the file's own type, and the orientation.

    Raises:
        InputError: as :func:`decode_image`, but of any kind of pixels.
    """
    data = _read_bytes(path)
    header = read_header(data)
    return _decode(path, data, header), header.orientation if header else UPRIGHT


def white_level(highest: int) -> int:
    """The value that becomes 255 in the 16-bit pictures of a set: the top of the smallest depth that holds them all.

    It belongs to the set, not to a picture: one that was taken in the dark must stay dark.

    Args:
        highest: of all pictures of the set, 0 to 65535.

    Returns:
        255, 1023, 4095, 16383 or 65535.
    """
    return next(top for top in ((1 << bits) - 1 for bits in _DEPTHS) if top >= highest)


def to_8_bit(pixels: Pixels, white: int) -> NDArray[np.uint8]:
    """Divide 16-bit values by ``white / 255``, rounded; what is above becomes 255.  8-bit values stay as they are."""
    scaled = cv2.convertScaleAbs(pixels, alpha=255 / white) if pixels.dtype == np.uint16 else pixels
    return np.asarray(scaled, dtype=np.uint8)


def has_colour(image: Pixels) -> bool:
    """Return whether the three channels of ``[height, width, 3]`` differ anywhere; those of a grey camera do not."""
    blue, green, red = (image[:, :, channel] for channel in range(3))
    return not (np.array_equal(blue, green) and np.array_equal(green, red))


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            data = file.read(size) if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise InputError("a picture", f"{path}: {error.strerror}", "check the path and its permissions") from None
    if size > MAX_FILE_BYTES:
        raise InputError("a picture of at most 256 MiB", f"{path} with {size / 2**20:.0f} MiB", "crop or compress it")
    return data


def _decode(path: Path, data: bytes, header: Header | None) -> Pixels:
    if header is not None and header.width * header.height > MAX_PIXELS:
        raise _too_large(path, f"{header.width}x{header.height}")
    pixels = None
    # Older OpenCV fills the missing part of a JPEG file with grey, which would teach the model that grey is normal.
    if header is None or header.whole:
        if header is not None and header.orientation != UPRIGHT and data[:2] in (b"II", b"MM"):
            data = with_orientation(data, UPRIGHT)  # OpenCV turns TIFF files, whatever it is asked for
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:  # no bytes, or more pixels than OpenCV allows
            if "CV_IO_MAX_IMAGE" in str(error):
                raise _too_large(path, "more") from None
    if pixels is None:
        what = "which is empty" if not data else "which is damaged, incomplete or no picture"
        raise InputError("a picture that OpenCV can read", f"{path}, {what}", "remove it or save it again as PNG")
    return np.asarray(pixels)


def _too_large(path: Path, found: str) -> InputError:
    return InputError(
        f"a picture of at most {MAX_PIXELS / 1e6:g} million pixels",
        f"{path} with {found}",
        "crop it or make it smaller",
    )

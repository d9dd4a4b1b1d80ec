"""The header of a picture file, read before decoding: size, orientation, and whether the file is whole.

A file of 1 MB may claim so many pixels that decoding it takes all memory, and OpenCV before version 5 fills the missing
part of a JPEG file with grey.  A decoder shows neither in time, so the bytes are read first.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from edge_occ.common.tiff import HEIGHT, ORIENTATION, WIDTH, first_directory

_MOST_PARTS = 1 << 18
"""Largest number of chunks or segments that are read; a PNG file of 256 MiB has 32,768 of the usual 8 KiB."""

_TEXT_BYTES = 4096
"""Bytes that are read of headers that are text."""

UPRIGHT = 1
"""The orientation of a picture that no viewer turns."""


@dataclass(frozen=True)
class Header:
    """Size, orientation and completeness of a picture file.

    Attributes:
        width, height: in pixels, as stored.
        whole: false if the file ends before its own structure does; not known of all formats.
        orientation: of EXIF, 1 to 8: how a viewer would turn the picture; 1 is as stored.
    """

    width: int
    height: int
    whole: bool = True
    orientation: int = UPRIGHT


def read_header(data: bytes) -> Header | None:
    """Understand the header of a JPEG, PNG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000, Netpbm, Sun or Radiance file.

    Returns:
        ``None`` for any other file, and for a header that makes no sense.
    """
    for signature, read in _FORMATS:
        if re.match(signature, data, re.DOTALL):
            with suppress(struct.error, ValueError):
                return read(data)
            return None
    return None


def _jpeg(data: bytes) -> Header:
    size, whole, orientation = (0, 0), False, UPRIGHT
    for marker, start in _jpeg_segments(data):
        if marker == 0xD9:
            whole = True
        elif marker == 0xE1 and data[start + 2 : start + 8] == b"Exif\0\0":
            orientation = _orientation(data[start + 8 : start + _number(data, start, ">H")])
        elif size == (0, 0) and 0xC0 <= marker <= 0xCF and marker not in _JPEG_TABLES:
            height, width = struct.unpack_from(">HH", data, start + 3)
            size = (width, height)
    return Header(*size, whole, orientation)


_JPEG_TABLES = {0xC4, 0xC8, 0xCC}
"""Markers among those of frames that begin no frame."""

_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""After entropy-coded data; there a byte 255 is followed by 0, and restart markers belong to the data."""


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment's length, to the first end of image that is not inside a segment.

    A preview inside the EXIF data has an end of its own.
    """
    place = 2
    for _ in range(_MOST_PARTS):
        found = _JPEG_MARKER.search(data, place)
        if found is None:
            return
        marker, start = data[found.start() + 1], found.end()
        yield marker, start
        if marker == 0xD9:
            return
        place = start + _number(data, start, ">H") if start + 2 <= len(data) else len(data)


def _png(data: bytes) -> Header:
    width, height = struct.unpack_from(">II", data, 16)
    place, whole, orientation = 8, False, UPRIGHT
    for _ in range(_MOST_PARTS):
        kind = data[place + 4 : place + 8]
        if len(kind) < 4:
            break
        length = _number(data, place, ">I")
        if kind == b"eXIf":
            orientation = _orientation(data[place + 8 : place + 8 + length])
        if kind == b"IEND":
            whole = True
            break
        place += 12 + length
    return Header(width, height, whole, orientation)


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif kind == b"VP8L":
        bits = _number(data, 21, "<I")
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = (value & 0x3FFF for value in struct.unpack_from("<HH", data, 26))
    place, orientation = 12, UPRIGHT
    for _ in range(_MOST_PARTS):
        if place + 8 > len(data):
            break
        length = _number(data, place + 4, "<I")
        if data[place : place + 4] == b"EXIF":
            orientation = _orientation(data[place + 8 : place + 8 + length].removeprefix(b"Exif\0\0"))
        place += 8 + length + length % 2
    return Header(width, height, 8 + _number(data, 4, "<I") <= len(data), orientation)


def _tiff(data: bytes) -> Header:
    values = first_directory(data)
    return Header(values.get(WIDTH, 0), values.get(HEIGHT, 0), orientation=values.get(ORIENTATION, UPRIGHT))


def _bmp(data: bytes) -> Header:
    if _number(data, 14, "<I") == 12:  # OS/2
        return Header(*struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return Header(abs(width), abs(height))  # a negative height: the first row is the upper one


def _avif(data: bytes) -> Header:
    # Of the picture, its thumbnail and its tiles, whichever is largest.
    sizes = [struct.unpack_from(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data[: 1 << 20])]
    return Header(*max(sizes, key=lambda size: size[0] * size[1]))


def _jpeg2000(data: bytes) -> Header:
    place = data.index(b"\xff\x4f\xff\x51")
    right, lower, left, upper = struct.unpack_from(">IIII", data, place + 8)
    return Header(right - left, lower - upper)


def _netpbm(data: bytes) -> Header:
    if data.startswith(b"P7"):
        width, height = (int(_found(rb"\n%b\s+(\d{1,10})\s" % name, data)[1]) for name in (b"WIDTH", b"HEIGHT"))
        return Header(width, height)
    blank = rb"(?:\s+|#[^\n]*\n)+"
    width, height = map(int, _found(rb"P.%b(\d{1,10})%b(\d{1,10})\s" % (blank, blank), data).groups())
    return Header(width, height)


def _radiance(data: bytes) -> Header:
    height, width = map(int, _found(rb"\n[-+]Y (\d{1,10}) [-+]X (\d{1,10})\n", data).groups())
    return Header(width, height)


def _found(pattern: bytes, data: bytes) -> re.Match[bytes]:
    found = re.search(pattern, data[:_TEXT_BYTES])
    if found is None:
        raise ValueError("no size")
    return found


def _gif(data: bytes) -> Header:
    return Header(*struct.unpack_from("<HH", data, 6))


def _sun(data: bytes) -> Header:
    return Header(*struct.unpack_from(">II", data, 4))


_FORMATS: tuple[tuple[bytes, Callable[[bytes], Header]], ...] = (
    (rb"\xff\xd8\xff", _jpeg),
    (rb"\x89PNG\r\n\x1a\n.{4}IHDR", _png),
    (rb"RIFF.{4}WEBPVP8", _webp),
    (rb"II[\x2a\x2b]\0|MM\0[\x2a\x2b]", _tiff),
    (rb"BM", _bmp),
    (rb"GIF8[79]a", _gif),
    (rb".{4}ftypavi[fs]", _avif),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n", _jpeg2000),
    (rb"P[1-7Ff]\s", _netpbm),
    (rb"\x59\xa6\x6a\x95", _sun),
    (rb"#\?(?:RADIANCE|RGBE)", _radiance),
)
"""First bytes of each format, and the function that reads its header."""


def _orientation(exif: bytes) -> int:
    """Orientation in an EXIF block; what cannot be read leaves the picture as it is."""
    with suppress(struct.error, ValueError):
        orientation = first_directory(exif).get(ORIENTATION, UPRIGHT)
        return orientation if 1 <= orientation <= 8 else UPRIGHT
    return UPRIGHT


def _number(data: bytes, place: int, form: str) -> int:
    return int(struct.unpack_from(form, data, place)[0])

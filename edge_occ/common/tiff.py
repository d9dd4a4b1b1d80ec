"""The first directory of a TIFF block: that of a TIFF file, and that of the EXIF data in pictures of other formats."""

from __future__ import annotations

import struct
from collections.abc import Iterator

WIDTH, HEIGHT, ORIENTATION = 256, 257, 274
"""Tags of TIFF 6.0."""

_BIG = 43
"""Version of BigTIFF, whose offsets have 8 bytes."""
_MOST_ENTRIES = 4096
_LETTERS = {3: "H", 4: "I", 16: "Q"}
"""Letters of :mod:`struct` for the types SHORT, LONG and BigTIFF's LONG8."""


def first_directory(block: bytes) -> dict[int, int]:
    """Whole numbers of the first directory by their tags, the first of each tag; other entries are left out.

    Args:
        block: begins with the header of TIFF or BigTIFF, ``II`` or ``MM``.

    Raises:
        struct.error: it ends early.
        ValueError: it is no TIFF, or its directory lies beyond its end.
    """
    values: dict[int, int] = {}
    for tag, form, place in _entries(block):
        values.setdefault(tag, struct.unpack_from(form, block, place)[0])
    return values


def with_orientation(block: bytes, orientation: int) -> bytes:
    """A block that :func:`first_directory` reads, with another orientation in its first directory."""
    changed = bytearray(block)
    for tag, form, place in _entries(block):
        if tag == ORIENTATION:
            struct.pack_into(form, changed, place, orientation)
    return bytes(changed)


def _entries(block: bytes) -> Iterator[tuple[int, str, int]]:
    """Tag, format and place of each whole number."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        raise ValueError("no TIFF header")
    big = struct.unpack_from(order + "H", block, 2)[0] == _BIG
    (start,) = struct.unpack_from(order + ("Q" if big else "I"), block, 8 if big else 4)
    if start > len(block):
        raise ValueError("no directory")
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), block, start)
    first, length, value = (start + 8, 20, 12) if big else (start + 2, 12, 8)
    for place in range(first, first + length * min(count, _MOST_ENTRIES), length):
        tag, kind = struct.unpack_from(order + "HH", block, place)
        if kind in _LETTERS:
            yield tag, order + _LETTERS[kind], place + value

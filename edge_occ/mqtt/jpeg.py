"""Comment segment of a JPEG, which describes a heatmap also as a file; pure functions of bytes."""

from __future__ import annotations

from collections.abc import Iterator

_START, _SCAN, _END = 0xD8, 0xDA, 0xD9
_COMMENT, _APP0 = 0xFE, 0xE0
_LARGEST = 0xFFFF - 2
"""Bytes of a segment's content at most."""


def insert_comment(jpeg: bytes, comment: bytes) -> bytes:
    """Return a JPEG with a comment (COM) segment after its JFIF header, which must stay first.

    Raises:
        ValueError: ``jpeg`` is not a JPEG, or the comment is longer than 65,533 bytes.
    """
    if len(comment) > _LARGEST:
        raise ValueError(f"a JPEG comment holds at most {_LARGEST} bytes, not {len(comment)}")
    if not is_jpeg(jpeg):
        raise ValueError("not a JPEG")
    place = next((end for marker, _, end in _segments(jpeg) if marker == _APP0), 2)
    segment = bytes((0xFF, _COMMENT)) + (len(comment) + 2).to_bytes(2, "big") + comment
    return jpeg[:place] + segment + jpeg[place:]


def read_comment(jpeg: bytes) -> bytes | None:
    """Return the first comment of a JPEG, or ``None``; raises nothing for any bytes."""
    return next((jpeg[start:end] for marker, start, end in _segments(jpeg) if marker == _COMMENT), None)


def is_jpeg(data: bytes) -> bool:
    """Return whether ``data`` begins like a JPEG."""
    return data[:3] == bytes((0xFF, _START, 0xFF))


def _segments(jpeg: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment's content, up to the image data or the first malformed segment."""
    place = 2 if is_jpeg(jpeg) else len(jpeg)
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF and jpeg[place + 1] not in (_SCAN, _END):
        length = int.from_bytes(jpeg[place + 2 : place + 4], "big")
        end = place + 2 + length
        if length < 2 or end > len(jpeg):
            return
        yield jpeg[place + 1], place + 4, end
        place = end

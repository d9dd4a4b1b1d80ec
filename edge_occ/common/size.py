"""The size of a picture, a frame or a map: height and width in pixels."""

from __future__ import annotations

from collections.abc import Sequence

Size = tuple[int, int]
"""Height and width in pixels, in this order everywhere: that of arrays, manifests and settings."""


def size_in_words(size: Sequence[int]) -> str:
    """Return a size as people write it, ``WIDTHxHEIGHT``.

    Args:
        size: height and width; further values, as in the shape of an array, are ignored.
    """
    return f"{size[1]}x{size[0]}"

"""Detail that is left after resizing: the smallest defect that is found reliably, in pixels of the camera's frame.

The rule: its side is :data:`MIN_DEFECT` resized pixels, times the number of frame pixels for each along the axis that
shrinks more.
"""

from __future__ import annotations

from edge_occ.bundle.manifest import Geometry
from edge_occ.common.size import Size, size_in_words

MIN_DEFECT = 4
"""Smallest side of a defect in pixels of the resized image that is found reliably (docs/pictures.md)."""


def smallest_defect(frame: Size, size: Size) -> int:
    """Return the side in frame pixels of the smallest defect that is found reliably.

    Args:
        frame: height and width.
        size: height and width of the resized frame.
    """
    return max(1, round(MIN_DEFECT * max(_shrunk(frame, size))))


def shrinking(frame: Size, size: Size) -> str | None:
    """Return a sentence on the loss of detail by resizing; ``None`` if no side shrinks to less than half.

    Args:
        frame: height and width.
        size: height and width of the resized frame.
    """
    down, across = _shrunk(frame, size)
    if max(down, across) <= 2:
        return None
    return (
        f"pictures of {size_in_words(frame)} are shrunk {across:.1f} x {down:.1f} times to {size_in_words(size)}; "
        f"what is smaller than about {smallest_defect(frame, size)} pixels may not be seen"
    )


def detail(geometry: Geometry) -> str:
    """Describe the smallest defect that is found reliably, and what a feature covers, for reports and model cards."""
    if geometry.viewed is None:
        return f"about {MIN_DEFECT} pixels of the resized frame; the training images differ in size"
    down, across = _shrunk(geometry.viewed, geometry.map_size)
    text = (
        f"about {smallest_defect(geometry.viewed, geometry.map_size)} frame pixels, which are {MIN_DEFECT} after "
        f"resizing (by {across:.1f} x {down:.1f})"
    )
    if geometry.grid == (1, 1):
        return f"{text}; a feature covers the whole {'frame' if geometry.tiles is None else 'tile'}"
    window, stride = (f"{across * side:.0f} x {down * side:.0f}" for side in (geometry.window, geometry.stride))
    return f"{text}; a feature covers a window of {window} frame pixels, and there is one each {stride}"


def _shrunk(frame: Size, size: Size) -> tuple[float, float]:
    """Return the number of frame pixels for each resized pixel, along the height and along the width."""
    return frame[0] / size[0], frame[1] / size[1]

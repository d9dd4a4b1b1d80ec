"""A crop: the rectangle of every frame that the graph sees, where parts always lie in the same place.

Pixels of the ground around the parts would otherwise take a share of the input, and leave the parts fewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.cut_out import Rectangle
from edge_occ.common.size import Size


@dataclass(frozen=True)
class Crop:
    """A rectangle in frames of one size, which in frames of another size is scaled.

    Attributes:
        top, left: first row and column.
        height, width: sides in pixels, at least 1.
        frame: height and width of the frames that these pixels are of, which hold the rectangle.
    """

    top: int
    left: int
    height: int
    width: int
    frame: Size

    def size(self, frame: Size) -> Size:
        """Return height and width of what is cut out of frames of this size."""
        rows, columns = self.slices(frame)
        return rows.stop - rows.start, columns.stop - columns.start

    def cut(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the rectangle of a frame, uint8 ``[h, w, 3]``; a view of it."""
        return frame[self.slices((frame.shape[0], frame.shape[1]))]

    def rectangle(self, frame: Size) -> Rectangle:
        """Return where the rectangle lies in a frame of this size."""
        rows, columns = self.slices(frame)
        height, width = self.size(frame)
        return Rectangle((columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2, 1, 0, height, width)

    def slices(self, frame: Size) -> tuple[slice, slice]:
        """Return its rows and its columns in an array of this size that shows a whole frame."""
        return (
            _scaled(self.top, self.height, self.frame[0], frame[0]),
            _scaled(self.left, self.width, self.frame[1], frame[1]),
        )


def _scaled(first: int, count: int, of: int, pixels: int) -> slice:
    """Return the same share of other pixels, at least one of them."""
    start = min(first * pixels // of, pixels - 1)
    return slice(start, max(start + 1, (first + count) * pixels // of))

"""A region of interest: the rectangle of a camera's frame that is inspected, for instance one of several parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_occ.inspection.result import Box
from edge_occ.sources.faults import Reason, Unscored

_Pixel = TypeVar("_Pixel", bound=np.generic)


@dataclass(frozen=True)
class Roi:
    """A rectangle of the frame, in pixels.

    Attributes:
        x, y: its upper left corner, at least 0.
        width, height: its size, at least 1.
    """

    x: int
    y: int
    width: int
    height: int

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the rectangle of a frame, ``[height, width, 3]``; nothing is copied.

        Raises:
            Unscored: the frame is smaller.
        """
        rows, columns = image.shape[:2]
        if self.y + self.height > rows or self.x + self.width > columns:
            raise Unscored(
                Reason.FRAME,
                f"a frame of {columns}x{rows} without the region of interest, "
                f"{self.width}x{self.height} pixels at ({self.x}, {self.y})",
            )
        return self.within(image)

    def within(self, pixels: NDArray[_Pixel]) -> NDArray[_Pixel]:
        """Return what lies in the rectangle of an array ``[rows, columns, ...]``, which may be too small for it."""
        return pixels[self.y : self.y + self.height, self.x : self.x + self.width]

    def in_frame(self, box: Box) -> Box:
        """Return a box of the rectangle in pixels of the frame."""
        return replace(box, x=box.x + self.x, y=box.y + self.y)

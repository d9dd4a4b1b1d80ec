"""Tiles: a large frame cut into overlapping parts, each of which the graph scores like a small frame.

The score of the frame is the highest of its tiles.  Its map is put together from theirs; where tiles overlap, it holds
the higher value.  So a frame above the threshold has a region above it, which a mean would lower where one tile sees
only the edge of a defect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.size import Size


@dataclass(frozen=True)
class Tiling:
    """The cutting of frames into tiles of one size.

    Attributes:
        columns, rows: number of tiles along the width and along the height.
        overlap: share of a tile that it has in common with the next one, along both axes; 0 to 0.5.
        size: height and width that the graph resizes a tile to.
    """

    columns: int
    rows: int
    overlap: float
    size: Size

    @property
    def count(self) -> int:
        """Number of tiles of a frame."""
        return self.columns * self.rows

    @property
    def map_size(self) -> Size:
        """Height and width of a frame's map; a frame with fewer pixels does not fill the tiles."""
        down, across = self._starts
        return down[-1] + self.size[0], across[-1] + self.size[1]

    def tile(self, frame: Size) -> Size:
        """Return the size of the tiles of frames of this size, before they are resized."""
        whole = self.map_size
        return -(-self.size[0] * frame[0] // whole[0]), -(-self.size[1] * frame[1] // whole[1])

    def cut(self, frame: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Return the tiles of a frame, uint8 ``[height, width, 3]``, row by row from the upper left; views of it."""
        size, whole = (frame.shape[0], frame.shape[1]), self.map_size
        height, width = self.tile(size)
        down, across = self._starts
        tops = [min(start * size[0] // whole[0], size[0] - height) for start in down]
        lefts = [min(start * size[1] // whole[1], size[1] - width) for start in across]
        return [frame[top : top + height, left : left + width] for top in tops for left in lefts]

    def stitch(self, maps: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return the map of a frame, float32 ``[height, width]`` of :attr:`map_size`, from those of its tiles."""
        whole = np.full(self.map_size, -np.inf, dtype=np.float32)
        down, across = self._starts
        places = ((top, left) for top in down for left in across)
        for (top, left), tile in zip(places, maps, strict=True):
            part = whole[top : top + self.size[0], left : left + self.size[1]]
            np.maximum(part, tile, out=part)
        return whole

    @property
    def _starts(self) -> tuple[list[int], list[int]]:
        """The first row and the first column of each tile in the map."""
        down, across = (round(side * (1 - self.overlap)) for side in self.size)
        return [i * down for i in range(self.rows)], [i * across for i in range(self.columns)]

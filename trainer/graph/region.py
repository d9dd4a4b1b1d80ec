"""The region of the resized frame that is inspected, and the positions of a grid that lie in it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_occ.bundle.gaussian import Region


def positions_inside(mask: NDArray[np.bool_], centres: tuple[Tensor, Tensor]) -> Region:
    """Return the positions whose cell holds a pixel of a region, bool ``[rows, columns]``.

    A cell reaches half-way to the next positions; at the border, to the edge of the image.

    Args:
        mask: pixels of the region, bool ``[height, width]``.
        centres: of the rows and of the columns of positions, pixels.
    """
    (tops, bottoms), (lefts, rights) = (_cells(of, side) for of, side in zip(centres, mask.shape, strict=True))
    counts = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), np.int64)
    counts[1:, 1:] = mask.cumsum(0).cumsum(1)
    rows = counts[bottoms] - counts[tops]
    inside: Region = rows[:, rights] - rows[:, lefts] > 0
    return inside


def _cells(centres: Tensor, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel of each cell along an axis, and the one behind its last."""
    middle = centres.double().numpy()
    between = np.round((middle[1:] + middle[:-1]) / 2).astype(np.int64)
    return np.concatenate(([0], between)), np.concatenate((between, [side]))


class RegionGrid(nn.Module):
    """The positions of a grid that lie in a region: features gathered from them, scores put back.

    Args:
        region: bool ``[rows, columns]``, at least one true.
    """

    def __init__(self, region: Region) -> None:
        super().__init__()
        self.rows, self.columns = region.shape
        inside = torch.from_numpy(region).flatten()
        places = inside.nonzero().flatten()
        self.places: Tensor
        self.back: Tensor
        self.register_buffer("places", places)
        self.register_buffer("back", (inside.cumsum(0) - 1).clamp_min(0))
        self.inside: Tensor
        self.register_buffer("inside", inside.float())

    def gather(self, features: Tensor) -> Tensor:
        """Map features ``[n, rows, columns, d]`` to ``[n, 1, p, d]``."""
        return features.flatten(1, 2).index_select(1, self.places).unsqueeze(1)

    def scatter(self, scores: Tensor) -> Tensor:
        """Map scores ``[n, 1, p]`` to ``[n, rows, columns]``, zero outside."""
        # Every position reads a score; those outside are multiplied by zero.
        return (scores.flatten(1).index_select(1, self.back) * self.inside).reshape(-1, self.rows, self.columns)

"""The positions of a grid that lie in the region to inspect, in the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_occ.bundle.sample_grid import Region


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

"""From the scores of a grid to a map of the image and to the image score."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_occ.bundle import score_map
from edge_occ.bundle.score_map import MapSettings
from edge_occ.common.size import Size
from trainer.config import MapConfig
from trainer.graph.region import RegionGrid


class ScoreMapLayer(nn.Module):
    """Grid scores to the smoothed full-resolution map and the image score.

    A Gaussian is laid on every position, weighted by its score, and the sum is divided by the same sum over ones: the
    transposed Gaussian convolution of CutPaste (A.5) without its loss of gain towards the border (5.6 % of the centre's
    at an edge).  ``upsampling=paper`` leaves the division out.  The Gaussian is separable, so both axes are one matrix
    product each.

    With a region, positions outside it take no part, and the map is zero outside: the same two sums over the positions
    inside, of which the quotient is the mean of the positions near a pixel.

    Args:
        config: smoothing and image score.
        size: height and width of the map in pixels.
        centres: of the rows and of the columns of positions, in pixels; see
            :meth:`trainer.encoders.base.Encoder.centres`.
        mask: pixels of the region, bool ``[height, width]``; None: all.

    Attributes:
        region: positions in the region, bool ``[rows, columns]``; None: all.
        top: how many of the highest values the image score is the mean of; none if it is the maximum.
        step: these are read from every ``step``-th row and column of the map.
        down, across: from rows of positions to rows of pixels, and from columns to columns; :func:`upsampling_matrix`.
    """

    def __init__(
        self,
        config: MapConfig,
        size: Size,
        centres: tuple[Tensor, Tensor],
        mask: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__()
        plain = score_map.ScoreMap(map_settings(config), size, (centres[0].numpy(), centres[1].numpy()), mask)
        self.region, self.top, self.step = plain.region, plain.top, plain.step
        self.positions = None if self.region is None else RegionGrid(self.region)
        self.down: Tensor
        self.across: Tensor
        self.register_buffer("down", torch.from_numpy(plain.down))
        self.register_buffer("across", torch.from_numpy(plain.across))
        self.gain: Tensor | None
        self.register_buffer("gain", None if plain.gain is None else torch.from_numpy(plain.gain))

    def gather(self, features: Tensor) -> Tensor:
        """Return features ``[n, rows, columns, d]`` at the positions that are scored, ``[n, 1, p, d]`` in a region."""
        return features if self.positions is None else self.positions.gather(features)

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores ``[n, rows, columns]``, in a region ``[n, 1, p]``, to image scores ``[n]`` and maps ``[n, height,
        width]``.
        """
        maps = self.maps(grid)
        if self.top is None:
            return maps.amax((1, 2)), maps
        # Where the highest values are too many for a runtime, every second (third, ...) pixel of a smooth map does.
        read = maps[:, :: self.step, :: self.step].flatten(1)
        return read.topk(self.top, 1).values.mean(1), maps

    def maps(self, grid: Tensor) -> Tensor:
        """Map the same scores to the maps alone."""
        if self.positions is not None:
            grid = self.positions.scatter(grid)
        maps = self.down @ grid @ self.across.transpose(0, 1)
        return maps if self.gain is None else maps * self.gain


def map_settings(config: MapConfig) -> MapSettings:
    """Return the settings of a map as the device half takes them."""
    return MapSettings(config.sigma, config.upsampling, config.image_score, config.top_fraction)

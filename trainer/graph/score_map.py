"""From the scores of a grid to a map of the image and to the image score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edge_occ.common.size import Size
from trainer.config import MapConfig


class ScoreMap(nn.Module):
    """Grid scores to the smoothed full-resolution map and the image score.

    A Gaussian is laid on every position, weighted by its score, and the sum is divided by the same sum over ones: the
    transposed Gaussian convolution of CutPaste (A.5) without its loss of gain towards the border (5.6 % of the centre's
    at an edge).  ``upsampling=paper`` leaves the division out.  The Gaussian is separable, so both axes are one matrix
    product each.

    Args:
        config: smoothing and image score.
        size: height and width of the map in pixels.
        centres: of the rows and of the columns of positions, in pixels; see
            :meth:`trainer.encoders.base.Encoder.centres`.

    Attributes:
        top: how many of the highest values the image score is the mean of; none if it is the maximum.
        step: these are read from every ``step``-th row and column of the map.
        down, across: from rows of positions to rows of pixels, and from columns to columns; :func:`upsampling_matrix`.
    """

    def __init__(self, config: MapConfig, size: Size, centres: tuple[Tensor, Tensor]) -> None:
        super().__init__()
        height, width = size
        self.top: int | None = None
        self.step = 1
        if config.image_score == "top":
            self.step = math.ceil(math.sqrt(config.top_fraction * height * width / _MAX_TOP))
            read = math.ceil(height / self.step) * math.ceil(width / self.step)
            self.top = min(max(1, round(config.top_fraction * read)), _MAX_TOP)
        self.down: Tensor
        self.across: Tensor
        self.register_buffer("down", upsampling_matrix(height, centres[0], config))
        self.register_buffer("across", upsampling_matrix(width, centres[1], config))

    def forward(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Map scores ``[n, rows, columns]`` to image scores ``[n]`` and maps ``[n, height, width]``."""
        maps = self.down @ grid @ self.across.transpose(0, 1)
        if self.top is None:
            return maps.amax((1, 2)), maps
        # Where the highest values are too many for a runtime, every second (third, ...) pixel of a smooth map does.
        read = maps[:, :: self.step, :: self.step].flatten(1)
        return read.topk(self.top, 1).values.mean(1), maps


def upsampling_matrix(pixels: int, centres: Tensor, config: MapConfig) -> Tensor:
    """Gaussian weights ``[pixels, positions]`` of every position at every pixel along one axis.

    Normalised, the rows sum to one.  As in the paper, they are samples of a Gaussian kernel that ends 16 pixels from
    its centre (32 pixels wide; CutPaste, A.5) and has the sum one over a grid without borders.
    """
    middles = torch.arange(pixels, dtype=torch.float64) + 0.5
    distance = middles.unsqueeze(1) - centres.unsqueeze(0)
    exponent = -distance.square() / (2 * config.sigma * config.sigma)
    if config.upsampling == "normalised":
        return torch.softmax(exponent, 1).float()
    kernel = exponent.exp() * (distance.abs() < _PAPER_KERNEL / 2)
    return (kernel / kernel.sum(1).amax()).float()


_MAX_TOP = 3840
"""Values that TensorRT's TopK gives at most (its operators' reference)."""

_PAPER_KERNEL = 32
"""Side of the paper's kernel in pixels (CutPaste, A.5); FCDD gives it a sigma of 10."""

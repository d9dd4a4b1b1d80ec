"""From the scores of a grid to a map of the image and to the image score, in numpy: what the graph computes.

The trainer takes the graph's matrices from here; a device calibrates with them, where there is no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.covariance import Floats
from edge_occ.bundle.sample_grid import Region
from edge_occ.common.size import Size

Upsampling = Literal["normalised", "paper"]

MAX_TOP = 3840
"""Values that TensorRT's TopK gives at most (its operators' reference)."""

_PAPER_KERNEL = 32
"""Side of the paper's kernel in pixels (CutPaste, A.5); FCDD gives it a sigma of 10."""

_CHUNK = 32
"""Images whose maps are in memory at a time."""


@dataclass(frozen=True)
class MapSettings:
    """The settings of a score map.

    Attributes:
        sigma: of the Gaussian that smooths the map, in pixels of the resized frame.
        upsampling: whether the map keeps its gain at the border.
        image_score: maximum of the map, or mean of its highest values.
        top_fraction: share of the map that ``top`` averages.
    """

    sigma: float
    upsampling: Upsampling = "normalised"
    image_score: Literal["max", "top"] = "max"
    top_fraction: float = 0.01


class ScoreMap:
    """The map of a head, and its image score.

    Args:
        settings: smoothing and image score.
        size: height and width of the map in pixels.
        centres: of the rows and of the columns of positions, float64, in pixels.
        mask: pixels of the region, bool ``[height, width]``; None: all.

    Attributes:
        region: positions in the region, bool ``[rows, columns]``; None: all.
        top: how many of the highest values the image score is the mean of; None: it is the maximum.
        step: these are read from every ``step``-th row and column of the map.
        down, across: from rows of positions to rows of pixels, and from columns to columns; :func:`upsampling_matrix`.
        gain: what maps are multiplied by, float32 ``[height, width]``: 0 outside the region, inside the inverse of the
            map of ones; None without a region.
    """

    def __init__(
        self, settings: MapSettings, size: Size, centres: tuple[Floats, Floats], mask: NDArray[np.bool_] | None = None
    ) -> None:
        height, width = size
        self.region: Region | None = None if mask is None else positions_inside(mask, centres)
        self.top: int | None = None
        self.step = 1
        if settings.image_score == "top":
            self.step = math.ceil(math.sqrt(settings.top_fraction * height * width / MAX_TOP))
            read = math.ceil(height / self.step) * math.ceil(width / self.step)
            if mask is not None:
                read = max(1, int(mask[:: self.step, :: self.step].sum()))
            self.top = min(max(1, round(settings.top_fraction * read)), MAX_TOP)
        self.down = upsampling_matrix(height, centres[0], settings.sigma, settings.upsampling)
        self.across = upsampling_matrix(width, centres[1], settings.sigma, settings.upsampling)
        self.gain: NDArray[np.float32] | None = None
        if mask is not None and self.region is not None:
            ones = self.down @ self.region.astype(np.float32) @ self.across.T
            self.gain = (mask / np.maximum(ones, np.finfo(np.float32).tiny)).astype(np.float32)

    def maps(self, grids: Floats) -> NDArray[np.float32]:
        """Return the maps, float32 ``[n, height, width]``, of scores ``[n, rows, columns]``, in a region of ``p``
        positions ``[n, 1, p]``.
        """
        whole = grids.astype(np.float32)
        if self.region is not None:
            whole = np.zeros((len(grids), *self.region.shape), dtype=np.float32)
            whole[:, self.region] = grids[:, 0]
        maps = np.asarray(self.down @ whole @ self.across.T, dtype=np.float32)
        return maps if self.gain is None else np.multiply(maps, self.gain)

    def scores(self, grids: Floats) -> Floats:
        """Return the image scores ``[n]`` of the same, in bounded memory."""
        return np.concatenate([self._scores(grids[at : at + _CHUNK]) for at in range(0, len(grids), _CHUNK)])

    def _scores(self, grids: Floats) -> Floats:
        maps = self.maps(grids)
        if self.top is None:
            return np.asarray(maps.max((1, 2)), dtype=np.float64)
        read = maps[:, :: self.step, :: self.step].reshape(len(maps), -1)
        return np.asarray(np.partition(read, -self.top, axis=1)[:, -self.top :].mean(1, dtype=np.float64))


def upsampling_matrix(
    pixels: int, centres: Floats, sigma: float, upsampling: Upsampling = "normalised"
) -> NDArray[np.float32]:
    """Gaussian weights of every position at every pixel along one axis, float32 ``[pixels, positions]``.

    Normalised, the rows sum to one.  As in the paper, they are samples of a Gaussian kernel that ends 16 pixels from
    its centre (32 pixels wide; CutPaste, A.5) and has the sum one over a grid without borders.
    """
    distance = np.arange(pixels)[:, None] + 0.5 - centres
    exponent = -np.square(distance) / (2 * sigma * sigma)
    if upsampling == "normalised":
        weights = np.exp(exponent - exponent.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)
    kernel = np.exp(exponent) * (np.abs(distance) < _PAPER_KERNEL / 2)
    return np.asarray(kernel / kernel.sum(1).max(), dtype=np.float32)


def positions_inside(mask: NDArray[np.bool_], centres: tuple[Floats, Floats]) -> Region:
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


def _cells(centres: Floats, side: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First pixel of each cell along an axis, and the one behind its last."""
    between = np.round((centres[1:] + centres[:-1]) / 2).astype(np.int64)
    return np.concatenate(([0], between)), np.concatenate((between, [side]))

"""A branch of the graph: one encoder, its features, and the scores that heads on them give.

A patch branch has features at every position of a grid; an image branch has one for the image, and its map is where
that one came from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge_occ.bundle.sample_grid import Region
from edge_occ.common.size import Size
from trainer.config import BranchConfig, MapConfig
from trainer.encoders.base import Encoder
from trainer.graph.features import FeatureExtractor
from trainer.graph.score_map import ScoreMapLayer
from trainer.heads.base import Head
from trainer.heads.cam import grad_cam, peak_at

Scored = tuple[Tensor, Tensor]
"""Image scores ``[n]`` and score maps ``[n, height, width]``."""


class Branch(nn.Module, ABC):
    """Resized images to features, and features to scores.

    Args:
        encoder: trained encoder.
        config: head and map.
        size: height and width of the images in pixels.
        mask: pixels of the region to inspect, bool ``[height, width]``; None: all.

    Attributes:
        extractor: from images to the features that heads are fitted on.
        geometry: side of a window, grid stride, and rows and columns of the grid; pixels of the resized frame.
        exact: whether a feature depends on its window alone.
        score_maps: from the scores of each head to its map.
        centres: of the rows and of the columns of positions, float64, in pixels of the resized frame.
    """

    extractor: FeatureExtractor
    geometry: tuple[int, int, tuple[int, int]]
    exact: bool

    def __init__(
        self, encoder: Encoder, config: BranchConfig, size: Size, mask: NDArray[np.bool_] | None = None
    ) -> None:
        super().__init__()
        self.extractor = FeatureExtractor(encoder, config.head)
        self._size, self.centres = size, (encoder.centres(size[0]), encoder.centres(size[1]))
        self.set_heads(config, mask)

    @property
    def device(self) -> torch.device:
        """Device on which the branch computes."""
        return self.extractor.projection.device

    def score_map(self, config: MapConfig, mask: NDArray[np.bool_] | None = None) -> ScoreMapLayer:
        """Return a map from a grid of this branch.

        Args:
            config: smoothing and image score.
            mask: pixels of the region, bool ``[height, width]``; None: all.
        """
        return ScoreMapLayer(config, self._size, self.centres, mask).to(self.device)

    def set_heads(self, config: BranchConfig, mask: NDArray[np.bool_] | None) -> None:
        """Replace the maps by those of other heads, as after a selection."""
        maps = [self.score_map(config.map, mask if own.in_region[0] else None) for own in config.head.each]
        self.score_maps = nn.ModuleList(maps)

    def region(self, head: int) -> Region | None:
        """The positions that a head scores, bool ``[rows, columns]``; None: all."""
        score_map: ScoreMapLayer = self._map(head)
        return score_map.region

    def _map(self, head: int) -> ScoreMapLayer:
        return cast("ScoreMapLayer", self.score_maps[head])

    @abstractmethod
    def forward(self, images: Tensor, heads: Sequence[Head]) -> tuple[list[Scored], Tensor]:
        """Map RGB ``[n, 3, height, width]`` of 0..255 to the scores of each head, and the features ``[n, rows, columns,
        d]``.
        """

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The features alone, ``[n, rows, columns, d]``."""

    @abstractmethod
    def score(self, grid: Tensor, head: int) -> Tensor:
        """Image scores ``[n]`` from a head's scores of its positions, ``[n, rows, columns]``; on the CPU."""

    @abstractmethod
    def maps(self, grid: Tensor, head: int) -> Tensor:
        """Score maps ``[n, height, width]`` from the same; on the CPU."""


class PatchBranch(Branch):
    """A head's score at every position of the grid, smoothed to a map (CutPaste, section 2.4)."""

    def __init__(
        self, encoder: Encoder, config: BranchConfig, size: Size, mask: NDArray[np.bool_] | None = None
    ) -> None:
        super().__init__(encoder, config, size, mask)
        rows, columns = map(len, self.centres)
        self.geometry = encoder.window, encoder.stride, (rows, columns)
        self.exact = encoder.exact

    def forward(self, images: Tensor, heads: Sequence[Head]) -> tuple[list[Scored], Tensor]:
        """See :meth:`Branch.forward`."""
        features = self.features(images)
        maps = (self._map(k) for k in range(len(heads)))
        return [to_map(head.score(to_map.gather(features))) for to_map, head in zip(maps, heads, strict=True)], features

    def features(self, images: Tensor) -> Tensor:
        """See :meth:`Branch.features`."""
        features: Tensor = self.extractor(images)
        return features

    def score(self, grid: Tensor, head: int) -> Tensor:
        """See :meth:`Branch.score`."""
        score: Tensor = self._map(head)(grid.to(self.device))[0]
        return score.cpu()

    def maps(self, grid: Tensor, head: int) -> Tensor:
        """See :meth:`Branch.maps`."""
        maps: Tensor = self._map(head)(grid.to(self.device))[1]
        return maps.cpu()


class ImageBranch(Branch):
    """A head's score of the mean feature, with a map of what raised it (CutPaste, sections 2.2 and 4.2)."""

    def __init__(self, encoder: Encoder, config: BranchConfig, size: Size) -> None:
        super().__init__(encoder, config, size)
        self.geometry = max(size), max(size), (1, 1)
        self.exact = False

    def set_heads(self, config: BranchConfig, mask: NDArray[np.bool_] | None) -> None:  # noqa: ARG002 - it has no region
        """See :meth:`Branch.set_heads`; the whole image has one score."""
        super().set_heads(config, None)

    def forward(self, images: Tensor, heads: Sequence[Head]) -> tuple[list[Scored], Tensor]:
        """See :meth:`Branch.forward`."""
        feature_map = self.extractor.map(images)
        features = self.extractor.project(feature_map.mean((2, 3), keepdim=True))
        scored = [self._scored(feature_map, features, head, self._map(k)) for k, head in enumerate(heads)]
        return scored, features

    def features(self, images: Tensor) -> Tensor:
        """See :meth:`Branch.features`."""
        features: Tensor = self.extractor.project(self.extractor.map(images).mean((2, 3), keepdim=True))
        return features

    def score(self, grid: Tensor, head: int) -> Tensor:  # noqa: ARG002 - the same for all heads
        """See :meth:`Branch.score`."""
        return grid[:, 0, 0]

    def maps(self, grid: Tensor, head: int) -> Tensor:  # noqa: ARG002 - as above
        """The score at every pixel, as the highest value of a map is its image's score: see :meth:`Branch.maps`."""
        return grid.expand(-1, *self._size)

    def _scored(self, feature_map: Tensor, features: Tensor, head: Head, to_map: ScoreMapLayer) -> Scored:
        score = head.score(features)[:, 0, 0]
        cam = grad_cam(feature_map, self.extractor.projection, head, self.extractor.l2)
        return score, peak_at(to_map(cam)[1], score)


def make_branch(encoder: Encoder, config: BranchConfig, size: Size, mask: NDArray[np.bool_] | None = None) -> Branch:
    """A branch of the kind that its settings ask for; image branches have no region.

    Raises:
        ValueError: the encoder has fewer features than the head needs, or does not take images of this size.
    """
    if config.encoder.name == "resnet18":
        return ImageBranch(encoder, config, size)
    return PatchBranch(encoder, config, size, mask)

"""A branch of the graph: one encoder, its features, and the scores that heads on them give.

A patch branch has features at every position of a grid; an image branch has one for the image, and its map is where
that one came from.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from edge_occ.common.size import Size
from trainer.config import BranchConfig, MapConfig
from trainer.encoders.base import Encoder
from trainer.graph.features import FeatureExtractor
from trainer.graph.score_map import ScoreMap
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

    Attributes:
        extractor: from images to the features that heads are fitted on.
        geometry: side of a window, grid stride, and rows and columns of the grid; pixels of the resized frame.
        exact: whether a feature depends on its window alone.
    """

    extractor: FeatureExtractor
    geometry: tuple[int, int, tuple[int, int]]
    exact: bool

    def __init__(self, encoder: Encoder, config: BranchConfig, size: Size) -> None:
        super().__init__()
        self.extractor = FeatureExtractor(encoder, config.head)
        self._size, self._centres = size, (encoder.centres(size[0]), encoder.centres(size[1]))
        self.score_map = self.score_map_with(config.map)

    def score_map_with(self, config: MapConfig) -> ScoreMap:
        """From a grid of this branch to a map, with other settings than its own."""
        return ScoreMap(config, self._size, self._centres).to(self.extractor.projection.device)

    @abstractmethod
    def forward(self, images: Tensor, heads: Sequence[Head]) -> tuple[list[Scored], Tensor]:
        """Map RGB ``[n, 3, height, width]`` of 0..255 to the scores of each head, and the features ``[n, rows, columns,
        d]``.
        """

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """The features alone, ``[n, rows, columns, d]``."""

    @abstractmethod
    def score(self, grid: Tensor) -> Tensor:
        """Image scores ``[n]`` from a head's scores of every position, ``[n, rows, columns]``; on the CPU."""

    @abstractmethod
    def maps(self, grid: Tensor) -> Tensor:
        """Score maps ``[n, height, width]`` from the same; on the CPU."""


class PatchBranch(Branch):
    """A head's score at every position of the grid, smoothed to a map (CutPaste, section 2.4)."""

    def __init__(self, encoder: Encoder, config: BranchConfig, size: Size) -> None:
        super().__init__(encoder, config, size)
        rows, columns = map(len, self._centres)
        self.geometry = encoder.window, encoder.stride, (rows, columns)
        self.exact = encoder.exact

    def forward(self, images: Tensor, heads: Sequence[Head]) -> tuple[list[Scored], Tensor]:
        """See :meth:`Branch.forward`."""
        features = self.features(images)
        return [self.score_map(head.score(features)) for head in heads], features

    def features(self, images: Tensor) -> Tensor:
        """See :meth:`Branch.features`."""
        features: Tensor = self.extractor(images)
        return features

    def score(self, grid: Tensor) -> Tensor:
        """See :meth:`Branch.score`."""
        score: Tensor = self.score_map(grid.to(self.score_map.down.device))[0]
        return score.cpu()

    def maps(self, grid: Tensor) -> Tensor:
        """See :meth:`Branch.maps`."""
        maps: Tensor = self.score_map(grid.to(self.score_map.down.device))[1]
        return maps.cpu()


class ImageBranch(Branch):
    """A head's score of the mean feature, with a map of what raised it (CutPaste, sections 2.2 and 4.2)."""

    def __init__(self, encoder: Encoder, config: BranchConfig, size: Size) -> None:
        super().__init__(encoder, config, size)
        self.geometry = max(size), max(size), (1, 1)
        self.exact = False

    def forward(self, images: Tensor, heads: Sequence[Head]) -> tuple[list[Scored], Tensor]:
        """See :meth:`Branch.forward`."""
        feature_map = self.extractor.map(images)
        features = self.extractor.project(feature_map.mean((2, 3), keepdim=True))
        return [self._scored(feature_map, features, head) for head in heads], features

    def features(self, images: Tensor) -> Tensor:
        """See :meth:`Branch.features`."""
        features: Tensor = self.extractor.project(self.extractor.map(images).mean((2, 3), keepdim=True))
        return features

    def score(self, grid: Tensor) -> Tensor:
        """See :meth:`Branch.score`."""
        return grid[:, 0, 0]

    def maps(self, grid: Tensor) -> Tensor:
        """The score at every pixel, as the highest value of a map is its image's score: see :meth:`Branch.maps`."""
        return grid.expand(-1, *self._size)

    def _scored(self, feature_map: Tensor, features: Tensor, head: Head) -> Scored:
        score = head.score(features)[:, 0, 0]
        cam = grad_cam(feature_map, self.extractor.projection, head, self.extractor.l2)
        return score, peak_at(self.score_map(cam)[1], score)


def make_branch(encoder: Encoder, config: BranchConfig, size: Size) -> Branch:
    """A branch of the kind that its settings ask for.

    Raises:
        ValueError: the encoder has fewer features than the head wants, or does not take images of this size.
    """
    kind = ImageBranch if config.encoder.name == "resnet18" else PatchBranch
    return kind(encoder, config, size)

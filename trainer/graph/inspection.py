"""The graphs that are exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from edge_occ.common.size import Size
from trainer.graph.branches import Branch
from trainer.graph.features import FeatureExtractor
from trainer.graph.preprocess import Preprocess, to_rgb
from trainer.heads.fused import from_tensors, weighted_sum


class InspectionGraph(nn.Module):
    """From the raw frame to score and map; heads are inputs, so that they can be swapped without a rebuild.

    Args:
        branches: all of one image size.
        heads: the kinds of each branch's heads.
        size: height and width of the images in pixels.
    """

    def __init__(self, branches: Sequence[Branch], heads: Sequence[Sequence[str]], size: Size) -> None:
        super().__init__()
        self.preprocess = Preprocess(size)
        self.parts = nn.ModuleList(branches)
        self.heads = tuple(tuple(kinds) for kinds in heads)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """As they were given."""
        return tuple(cast("Branch", part) for part in self.parts)

    def forward(self, frame: Tensor, head: list[Tensor]) -> tuple[Tensor, ...]:
        """Score one frame.

        Args:
            frame: uint8 BGR ``[h, w, 3]``, any size.
            head: the tensors of :meth:`trainer.heads.fused.FusedHead.tensors`.

        Returns:
            Image score ``[1]``, score map ``[height, width]``, and each branch's features ``[rows, columns, d]``, which
            cost nothing where nobody asks for them.
        """
        fused = from_tensors([kind for kinds in self.heads for kind in kinds], head)
        # Cast before all else: TensorRT takes bytes into a cast and into nothing else.
        images = self.preprocess(frame.float().unsqueeze(0))
        scored, features, first = [], [], 0
        for branch, kinds in zip(self.branches, self.heads, strict=True):
            found, grid = branch(images, fused.parts[first : first + len(kinds)])
            scored += found
            features.append(grid[0])
            first += len(kinds)
        score = weighted_sum((score for score, _ in scored), fused.score_weights)
        score_map = weighted_sum((maps[0] for _, maps in scored), fused.map_weights)
        return (score, score_map, *features)


class EncoderGraph(nn.Module):
    """An encoder alone, on images of any size: run on single windows, it is what the dense graph must equal."""

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 BGR ``[n, h, w, 3]``, a window or larger, to features ``[n, rows, columns, d]``, not resized."""
        features: Tensor = self.extractor(to_rgb(images.float().permute(0, 3, 1, 2)))
        return features


def exact_branch(branches: Iterable[Branch]) -> int | None:
    """Place of the first branch whose features depend on their windows alone, if there is one."""
    return next((i for i, branch in enumerate(branches) if branch.exact), None)

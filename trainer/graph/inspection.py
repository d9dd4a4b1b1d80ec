"""The graph that is exported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor, nn

from edge_occ.common.size import Size
from trainer.config import FusionConfig
from trainer.graph.branches import Branch
from trainer.graph.preprocess import Preprocess
from trainer.heads.fused import from_tensors, weighted_sum


class InspectionGraph(nn.Module):
    """From the raw frame to score and map; heads are inputs, so that they can be swapped without a rebuild.

    Args:
        branches: all of one image size.
        heads: the kinds of each branch's heads.
        size: height and width of the images in pixels.
        fusion: a head whose weight in the score or in the map is 0 is left out there, so that what it would add is not
            computed; None: all weights may be other than 0.
    """

    def __init__(
        self,
        branches: Sequence[Branch],
        heads: Sequence[Sequence[str]],
        size: Size,
        fusion: FusionConfig | None = None,
    ) -> None:
        super().__init__()
        fusion = FusionConfig() if fusion is None else fusion
        self._in_score, self._in_map = (
            None if weights is None else [weight > 0 for weight in weights]
            for weights in (fusion.score_weights, fusion.map_weights)
        )
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
            cost nothing where they are not fetched.
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
        score = weighted_sum((score for score, _ in scored), fused.score_weights, self._in_score)
        score_map = weighted_sum((maps[0] for _, maps in scored), fused.map_weights, self._in_map)
        return (score, score_map, *features)


def exact_branch(branches: Iterable[Branch]) -> int | None:
    """Place of the first branch whose features depend on their windows alone, if there is one."""
    return next((i for i, branch in enumerate(branches) if branch.exact), None)

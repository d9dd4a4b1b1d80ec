"""Several heads as one: a weighted sum of their scores, and one of their maps.

A head's scores are comparable with another's once each is measured by its own spread on normal images that neither head
had seen.  The sums have no offsets, which no order of images depends on, so scores stay at least 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add

import torch
from torch import Tensor

from engines.base import MAP_WEIGHTS, SCORE_WEIGHTS, of_head
from trainer.heads.base import Head
from trainer.heads.build import CLASSES


@dataclass(frozen=True)
class FusedHead:
    """Heads in the order of :attr:`trainer.config.TrainConfig.heads`; one alone is not weighted.

    Attributes:
        parts: the heads, ``k`` of them.
        score_weights: of the image scores ``[k]``, at least 0.
        map_weights: of the score maps ``[k]``, at least 0.
    """

    parts: tuple[Head, ...]
    score_weights: Tensor
    map_weights: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Inputs of the graph by name, in its order."""
        named = {
            of_head(name, k): tensor for k, part in enumerate(self.parts) for name, tensor in part.tensors().items()
        }
        if len(self.parts) > 1:
            named |= {SCORE_WEIGHTS: self.score_weights, MAP_WEIGHTS: self.map_weights}
        return named


def from_tensors(kinds: Sequence[str], tensors: Sequence[Tensor]) -> FusedHead:
    """The inverse of :meth:`FusedHead.tensors`, from the kinds of the heads and the values alone."""
    values = iter(tensors)
    classes = [CLASSES[kind] for kind in kinds]
    parts = tuple(of(*(next(values) for _ in fields(of))) for of in classes)
    weights = tuple(values)
    score_weights, map_weights = weights if len(parts) > 1 else (torch.ones(1), torch.ones(1))
    return FusedHead(parts, score_weights, map_weights)


def weighted_sum(values: Iterable[Tensor], weights: Tensor, used: Sequence[bool] | None = None) -> Tensor:
    """Sum of tensors of one shape, each times its weight; a single one as it is.

    Args:
        values: the tensors, at least one.
        weights: as many.
        used: which of them are added, at least one; None: all.
    """
    values = list(values)
    if len(values) == 1:
        return values[0]
    weighted = [value * weights[k] for k, value in enumerate(values) if used is None or used[k]]
    return reduce(add, weighted)

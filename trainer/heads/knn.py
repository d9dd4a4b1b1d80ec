"""k nearest neighbours: the score is the mean squared distance to the closest features of good parts (Ramaswamy et al.,
2000; PatchCore, sections 3.2 and 3.3, uses the closest one, of a memory that is selected instead of drawn at random).

Unlike :mod:`trainer.heads.nearest` it depends on the features' lengths too, as a Gaussian does.  Unlike a Gaussian it
assumes no shape of their distribution: one Gaussian for all positions has to cover a part, its edge and the ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from trainer.config import HeadConfig
from trainer.heads.base import Unfit
from trainer.heads.references import ReferenceHead, drawn, refuse_sameness


@dataclass(frozen=True)
class KnnHead(ReferenceHead):
    """A fitted head, float32; see :class:`trainer.heads.references.ReferenceHead` for the other tensors.

    Attributes:
        weights: weight of each of the nearest references, ``[neighbours]``, with a sum of 1.
    """

    weights: Tensor
    at_unit_length: ClassVar[bool] = False

    def compare(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`trainer.heads.references.ReferenceHead.compare`."""
        closest = self.squared_distances(place).topk(len(self.weights), largest=False).indices
        # Matrix products find the nearest ones, but cancel the digits of small distances, which differences keep.
        difference = place.unsqueeze(-2) - self.references[closest]
        weighted = difference * self.weights.unsqueeze(-1)
        return (weighted * difference).sum((-2, -1)), 2 * weighted.sum(-2)


def fit_knn(features: Tensor, config: HeadConfig) -> KnnHead:
    """Keep features of normal images, ``[n, rows, columns, d]``, as references.

    Raises:
        Unfit: they are all the same, or fewer than the neighbours.
    """
    samples, count = drawn(features, config.references), config.neighbours
    if len(samples) < count:
        raise Unfit(f"{len(samples)} features for {count} neighbours", "raise head.references or lower head.neighbours")
    mean = samples.mean(0)
    centred = samples - mean
    refuse_sameness(centred.square().sum(1).mean() / samples.square().sum(1).mean(), samples)
    weights = mean.new_full((count,), 1 / count)
    return KnnHead(mean.view(1, 1, -1).float(), centred.float(), weights.float())

"""The nearest neighbour by angle: ``1 - max over i of cos(u, u_i)`` (the two-stage paper's released code: "auc").

It is half the least squared distance between features at unit length.  Matrix products find the reference that is the
nearest; the distance to that one is then taken by itself, as it is a small difference of the numbers in these products.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.config import HeadConfig
from trainer.heads.references import ReferenceHead, make_references


@dataclass(frozen=True)
class NearestHead(ReferenceHead):
    """A fitted head, float32; see :class:`trainer.heads.references.ReferenceHead` for its tensors."""

    def compare(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`trainer.heads.references.ReferenceHead.compare`."""
        difference = place - self.references[self.squared_distances(place).argmin(-1)]
        return difference.square().sum(-1) / 2, difference


def fit_nearest(features: Tensor, config: HeadConfig) -> NearestHead:
    """Keep features of normal images, ``[n, rows, columns, d]``, as references.

    Raises:
        Unfit: they are all the same.
    """
    references = make_references(features, config)
    return NearestHead(references.mean.float(), references.centred.float())

"""The nearest neighbour by angle: ``1 - max over i of cos(u, u_i)`` (the two-stage paper's released code: "auc").

It is half the least squared distance between features at unit length, and computed as that.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.config import HeadConfig
from trainer.heads.references import ReferenceHead, make_references


@dataclass(frozen=True)
class NearestHead(ReferenceHead):
    """A fitted head, float32; see :class:`trainer.heads.references.ReferenceHead` for its tensors."""

    def of_distances(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`trainer.heads.references.ReferenceHead.of_distances`; of several nearest ones each has a share."""
        least = squared.amin(-1, keepdim=True)
        nearest = (squared <= least).to(squared.dtype)
        return least.squeeze(-1) / 2, nearest / (2 * nearest.sum(-1, keepdim=True))


def fit_nearest(features: Tensor, config: HeadConfig) -> NearestHead:
    """Keep features of normal images, ``[n, rows, columns, d]``, as references.

    Raises:
        Unfit: they are all the same.
    """
    references = make_references(features, config)
    return NearestHead(references.mean.float(), references.centred.float())

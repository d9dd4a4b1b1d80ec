"""Kernel density estimation on features at unit length, with the kernel of the two-stage paper's released code.

The released code's score is ``-logsumexp over i of (2 gamma cos(u, u_i)) / gamma``.  As ``2 cos = 2 - ||u - u_i||^2``,
this head's score, ``-log(mean over i of exp(-gamma ||u - u_i||^2)) / gamma``, is that plus ``2 + log(n) / gamma``: it
has the same order, is at least 0, and does not grow with the number ``n`` of references.  With growing gamma it
approaches the squared distance to the nearest neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainer.config import HeadConfig
from trainer.heads.references import ReferenceHead, make_references, soft_minimum


@dataclass(frozen=True)
class KdeHead(ReferenceHead):
    """A fitted head, float32; see :class:`trainer.heads.references.ReferenceHead` for the other tensors.

    Attributes:
        gamma: factor of squared distances in the kernel, ``[1]``.
    """

    gamma: Tensor

    def compare(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`trainer.heads.references.ReferenceHead.compare`."""
        count = len(self.references)
        alike = self.gamma.new_full((count,), 1 / count)
        score, shares = soft_minimum(self.squared_distances(place), alike, self.gamma)
        return score, 2 * (place - shares @ self.references)


def fit_kde(features: Tensor, config: HeadConfig) -> KdeHead:
    """Keep features of normal images, ``[n, rows, columns, d]``, as references.

    Raises:
        Unfit: they are all the same.
    """
    references = make_references(features, config)
    gamma = references.mean.new_tensor([references.gamma])
    return KdeHead(references.mean.float(), references.centred.float(), gamma.float())

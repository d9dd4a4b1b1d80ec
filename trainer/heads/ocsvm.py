"""One-class support vector machines (Schoelkopf et al., 2001), fitted by scikit-learn as the two-stage paper's released
code does: nu 0.5; an RBF kernel on features at unit length, or a linear one on features as they are.

scikit-learn's own scores are higher for good parts and may be negative.  These here rank the same the other way round
and are at least 0.

* RBF: scikit-learn has ``k = sum over i of alpha_i exp(-gamma ||u - u_i||^2)``.  With ``w_i = alpha_i / sum(alpha)``
  ours is ``-log(sum over i of w_i exp(-gamma ||u - u_i||^2)) / gamma = -log(k / sum(alpha)) / gamma``.  The straight
  form, ``sum(alpha) - k``, would be one number for all parts far away, as fp32 rounds, and without a gradient there;
  and it would grow with the number of images, which differs between a fold and all of them.
* linear: scikit-learn has ``k = w.f`` and a plane at ``k = rho``, with half of the good parts beyond it.  Ours is
  ``softplus((rho - k) / deviation)``, measured by the deviation of good parts: nearly the distance behind the plane,
  fading to 0 before it.  No shift could do that, as ``w.f`` has no upper limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from sklearn.svm import OneClassSVM
from torch import Tensor
from torch.nn import functional

from trainer.config import HeadConfig
from trainer.heads.base import Head
from trainer.heads.references import ReferenceHead, drawn, make_references, refuse_sameness, soft_minimum

NU = 0.5
"""scikit-learn's default, which the released code leaves as it is: the share of good parts outside, and the least share
of support vectors."""


@dataclass(frozen=True)
class RbfHead(ReferenceHead):
    """A fitted head, float32, whose references are the support vectors; see
    :class:`trainer.heads.references.ReferenceHead`.

    Attributes:
        weights: of the support vectors, ``[k]``, with a sum of 1.
        gamma: of the kernel, ``[1]``.
    """

    weights: Tensor
    gamma: Tensor

    def compare(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`trainer.heads.references.ReferenceHead.compare`."""
        score, shares = soft_minimum(self.squared_distances(place), self.weights, self.gamma)
        return score, 2 * (place - shares @ self.references)


@dataclass(frozen=True)
class LinearHead(Head):
    """A fitted head, float32.

    Attributes:
        mean: of the features, ``[1, 1, d]``.
        weights: normal of the plane over the deviation of good parts along it, ``[d]``.
        offset: of the plane from the mean, in these deviations, ``[1]``.
    """

    mean: Tensor
    weights: Tensor
    offset: Tensor

    def score(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.score`."""
        return functional.softplus(self._behind(features))

    def gradient(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.gradient`: the plane's normal, fading before the plane."""
        return -self._behind(features).sigmoid().unsqueeze(-1) * self.weights

    def _behind(self, features: Tensor) -> Tensor:
        return self.offset - ((features - self.mean) * self.weights).sum(-1)


def fit_rbf(features: Tensor, config: HeadConfig) -> RbfHead:
    """Fit to the features of normal images, ``[n, rows, columns, d]``.

    Raises:
        Unfit: they are all the same.
    """
    references = make_references(features, config)
    machine = OneClassSVM(kernel="rbf", gamma=references.gamma, nu=NU).fit(references.centred.cpu().numpy())
    weights = references.mean.new_tensor(machine.dual_coef_[0])
    vectors = references.centred[torch.from_numpy(machine.support_).long()]
    gamma = references.mean.new_tensor([references.gamma])
    return RbfHead(references.mean.float(), vectors.float(), (weights / weights.sum()).float(), gamma.float())


def fit_linear(features: Tensor, config: HeadConfig) -> LinearHead:
    """Fit to the features of normal images, ``[n, rows, columns, d]``.

    The machine sees them divided by their mean length, which scales its solution and lets it end: libsvm iterates until
    an error is below 0.001, whatever the features' size.

    Raises:
        Unfit: they are all the same.
    """
    samples = drawn(features, config.references)
    length = samples.square().sum(1).mean().sqrt().clamp_min(1e-300)
    scaled = samples / length
    mean = scaled.mean(0)
    refuse_sameness((scaled - mean).square().sum(1).mean(), samples)
    machine = OneClassSVM(kernel="linear", nu=NU).fit(scaled.cpu().numpy())
    normal = scaled.new_tensor(machine.coef_[0])
    deviation = (scaled @ normal).std(correction=0)
    refuse_sameness((deviation / normal.norm().clamp_min(1e-300)).square(), samples)
    offset = (float(machine.offset_[0]) - mean @ normal) / deviation
    mean = mean * length
    return LinearHead(mean.view(1, 1, -1).float(), (normal / (deviation * length)).float(), offset.view(1).float())

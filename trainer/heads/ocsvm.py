"""One-class support vector machines (Schoelkopf et al., 2001), fitted by scikit-learn as the two-stage paper's released
code does: nu 0.5; an RBF kernel on features at unit length, or a linear one on features as they are.

scikit-learn's own scores are higher for good parts and may be negative.  The scores of these heads have the opposite
order and are at least 0.

* RBF: scikit-learn has ``k = sum over i of alpha_i exp(-gamma ||u - u_i||^2)``.  With ``w_i = alpha_i / sum(alpha)``
  this head's score is ``-log(sum over i of w_i exp(-gamma ||u - u_i||^2)) / gamma = -log(k / sum(alpha)) / gamma``.
  The direct form, ``sum(alpha) - k``, would round to one number in fp32 for all parts far away, without a gradient
  there, and it would grow with the number of images, which differs between a fold and the whole set.
* linear: scikit-learn has ``k = w.f`` and a plane at ``k = rho``, with half of the good parts beyond it.  This head's
  score is ``softplus((rho - k) / deviation)``, in units of the deviation of good parts: nearly the distance behind the
  plane, falling to 0 in front of it.  No offset could make it positive, as ``w.f`` has no upper limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import HeadConfig
from trainer.heads.base import Head
from trainer.heads.references import ReferenceHead, drawn, make_references, refuse_sameness, soft_minimum

NU = 0.5
"""scikit-learn's default, which the released code leaves as it is: the largest share of good parts outside, and the
smallest share of support vectors."""


@dataclass(frozen=True)
class RbfHead(ReferenceHead):
    """A fitted head, float32, whose references are the support vectors; see
    :class:`trainer.heads.references.ReferenceHead`.

    Attributes:
        weights: weights of the support vectors, ``[k]``, with a sum of 1.
        gamma: factor of squared distances in the kernel, ``[1]``.
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
        mean: mean of the features, ``[1, 1, d]``.
        weights: normal of the plane, divided by the deviation of good parts along it, ``[d]``.
        offset: distance of the plane from the mean, in these deviations, ``[1]``.
    """

    mean: Tensor
    weights: Tensor
    offset: Tensor

    def score(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.score`."""
        return functional.softplus(self._behind(features))

    def gradient(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.gradient`: the plane's normal, falling to 0 in front of the plane."""
        return -self._behind(features).sigmoid().unsqueeze(-1) * self.weights

    def _behind(self, features: Tensor) -> Tensor:
        return self.offset - ((features - self.mean) * self.weights).sum(-1)


def fit_rbf(features: Tensor, config: HeadConfig) -> RbfHead:
    """Fit to the features of normal images, ``[n, rows, columns, d]``.

    Raises:
        Unfit: they are all the same.
    """
    from sklearn.svm import OneClassSVM  # noqa: PLC0415 - takes a second, and few trainings have these heads

    references = make_references(features, config)
    machine = OneClassSVM(kernel="rbf", gamma=references.gamma, nu=NU).fit(references.centred.cpu().numpy())
    weights = references.mean.new_tensor(machine.dual_coef_[0])
    vectors = references.centred[torch.from_numpy(machine.support_).long()]
    gamma = references.mean.new_tensor([references.gamma])
    return RbfHead(references.mean.float(), vectors.float(), (weights / weights.sum()).float(), gamma.float())


def fit_linear(features: Tensor, config: HeadConfig) -> LinearHead:
    """Fit to the features of normal images, ``[n, rows, columns, d]``.

    scikit-learn gets them divided by their mean length, which scales its solution: libsvm iterates until an error is
    below 0.001, whatever the features' size, and would not end with long ones.

    Raises:
        Unfit: they are all the same.
    """
    from sklearn.svm import OneClassSVM  # noqa: PLC0415 - takes a second, and few trainings have these heads

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

"""Gaussian density estimation on window features, exported as a mean and a whitening matrix.

CutPaste, equation 2: the anomaly score is the Mahalanobis distance to a Gaussian fitted to normal features.
Section A.5 fits one Gaussian for all positions (textures, parts in any pose) or one a position (aligned parts).  The
score is the squared distance ``||W (f - mean)||^2``; :mod:`trainer.heads.covariance` tells where ``W`` comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import HeadConfig, Scope
from trainer.heads.base import Head, Unfit
from trainer.heads.covariance import whiten


@dataclass(frozen=True)
class GaussianHead(Head):
    """A fitted head, float32.

    Attributes:
        mean: ``[rows, columns, d]``, or ``[1, 1, d]`` for all positions.
        whitening: ``[rows, columns, k, d]`` or ``[1, 1, k, d]``.
    """

    mean: Tensor
    whitening: Tensor

    def score(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis norm of features ``[n, rows, columns, d]``: ``[n, rows, columns]``."""
        whitened = _product(features - self.mean, self.whitening.transpose(2, 3))
        # Not square(): ONNX Runtime computes a power many times slower than a product.
        return (whitened * whitened).sum(-1)

    def gradient(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.gradient`: ``2 W^T W (f - mean)``."""
        whitened = _product(features - self.mean, self.whitening.transpose(2, 3))
        return 2 * _product(whitened, self.whitening)


def _product(vectors: Tensor, matrices: Tensor) -> Tensor:
    """``[n, rows, columns, a]`` times each position's matrix ``[rows, columns, a, b]``, or the one ``[1, 1, a, b]`` of
    all: ``[n, rows, columns, b]``.

    All images of a position at once: broadcasting the matrices over the images would copy them for each.  Images are
    rows, as ONNX Runtime has a faster product for one row (a frame) than for one column.
    """
    if matrices.shape[0] == matrices.shape[1] == 1:
        return vectors @ matrices[0, 0]
    return (vectors.permute(1, 2, 0, 3) @ matrices).permute(2, 0, 1, 3)


def fit_gaussian(features: Tensor, config: HeadConfig, scope: Scope) -> GaussianHead:
    """Fit to the features of normal images, in float64.

    Args:
        features: ``[n, rows, columns, d]``.
        config: regulariser, ridge, components, floor, neighbourhood.
        scope: which positions share a Gaussian.

    Raises:
        Unfit: the regularised covariance is singular (say, a ridge too small for features that do not vary).
    """
    n, rows, columns, dim = features.shape
    floor = config.floor * features.double().var((0, 1, 2), correction=0).mean()
    if scope == "per-position":
        mean, whitening, singular = _per_position(features, config, floor)
    else:
        shared = scope == "shared"
        double = features.double()
        mean = double.mean((0, 1, 2), keepdim=True)[0] if shared else double.mean(0)
        whitening, singular = whiten((double - mean).reshape(1, n * rows * columns, dim), config, floor)
        whitening = whitening.unsqueeze(0)
    if singular.any():
        raise Unfit(
            f"the covariance is singular at {int(singular.sum())} of {singular.numel()} positions with "
            f"regulariser={config.regulariser}",
            "use --set head.regulariser=ledoit-wolf or a larger head.floor; features that never vary need another "
            "encoder or other images",
        )
    return GaussianHead(mean.float(), whitening.float())


def _per_position(features: Tensor, config: HeadConfig, floor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, whitening and whether it is singular, for each position from the samples of its neighbourhood, a row at a
    time to bound memory.

    Samples of neighbours stand in for small misplacements of the part.  At the border the neighbourhood repeats the
    edge.
    """
    n, rows, columns, dim = features.shape
    side = config.samples_side(n)
    reach = side // 2
    padded = functional.pad(features.permute(0, 3, 1, 2), (reach,) * 4, mode="replicate")
    means, whitenings, singular = [], [], []
    for row in range(rows):
        band = padded[:, :, row : row + side].unfold(3, side, 1)  # [n, d, side, columns, side]
        samples = band.permute(3, 0, 2, 4, 1).reshape(columns, n * side * side, dim).double()
        mean = samples.mean(1, keepdim=True)
        means.append(mean.squeeze(1))
        whitening, failed = whiten(samples - mean, config, floor)
        whitenings.append(whitening)
        singular.append(failed)
    return torch.stack(means), torch.stack(whitenings), torch.stack(singular)

"""Gaussian density estimation on window features, exported as a mean and a whitening matrix.

CutPaste, equation 2: the anomaly score is the Mahalanobis distance to a Gaussian fitted to normal features.  With the
Cholesky factor ``L`` of the covariance and ``W = inverse(L)``, the squared distance is ``||W (f - mean)||^2``.
Section A.5 fits one Gaussian for all positions (textures, parts in any pose) or one a position (aligned parts).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import HeadConfig, Scope


@dataclass(frozen=True)
class GaussianHead:
    """A fitted head, float32.

    Attributes:
        mean: ``[rows, columns, d]``, or ``[1, 1, d]`` for all positions.
        whitening: lower triangular, ``[rows, columns, d, d]`` or ``[1, 1, d, d]``.
    """

    mean: Tensor
    whitening: Tensor

    def score(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis norm of features ``[n, rows, columns, d]``: ``[n, rows, columns]``."""
        return mahalanobis(features, self.mean, self.whitening)


def mahalanobis(features: Tensor, mean: Tensor, whitening: Tensor) -> Tensor:
    """Squared norm of the whitened difference; see :class:`GaussianHead` for the shapes."""
    difference = features - mean
    if whitening.shape[0] == whitening.shape[1] == 1:
        return (difference @ whitening[0, 0].transpose(0, 1)).square().sum(-1)
    # All images of a position at once: broadcasting the matrices over the images would copy them for each.
    whitened = whitening @ difference.permute(1, 2, 3, 0)
    return whitened.square().sum(2).permute(2, 0, 1)


def fit_gaussian(features: Tensor, config: HeadConfig, scope: Scope) -> GaussianHead:
    """Fit to the features of normal images, in float64.

    Args:
        features: ``[n, rows, columns, d]``.
        config: regulariser, ridge, floor, neighbourhood.
        scope: which positions share a Gaussian.

    Raises:
        ValueError: the regularised covariance is singular (say, a ridge too small for features that do not vary).
    """
    n, rows, columns, dim = features.shape
    spread = features.double().var((0, 1, 2), correction=0).mean()
    if scope == "per-position":
        mean, covariance = _per_position(features, config)
    else:
        shared = scope == "shared"
        double = features.double()
        mean = double.mean((0, 1, 2), keepdim=True)[0] if shared else double.mean(0)
        centred = (double - mean).reshape(1, n * rows * columns, dim)
        covariance = _regularised(centred, config).view(1, 1, dim, dim)
    covariance = covariance + config.floor * spread * torch.eye(dim, dtype=covariance.dtype, device=covariance.device)
    factor, failed = torch.linalg.cholesky_ex(covariance)
    if failed.any():
        raise ValueError(
            f"the covariance is singular at {int((failed > 0).sum())} of {failed.numel()} positions with "
            f"regulariser={config.regulariser}"
        )
    identity = torch.eye(dim, dtype=factor.dtype, device=factor.device).expand_as(factor)
    whitening = torch.linalg.solve_triangular(factor, identity, upper=False)
    return GaussianHead(mean.float(), whitening.float())


def _per_position(features: Tensor, config: HeadConfig) -> tuple[Tensor, Tensor]:
    """Mean and covariance of each position from the samples of its neighbourhood, a row at a time to bound memory.

    Samples of neighbours stand in for small misplacements of the part.  At the border the neighbourhood repeats the
    edge.
    """
    n, rows, columns, dim = features.shape
    side = config.samples_side(n)
    reach = side // 2
    padded = functional.pad(features.permute(0, 3, 1, 2), (reach,) * 4, mode="replicate")
    means, covariances = [], []
    for row in range(rows):
        band = padded[:, :, row : row + side].unfold(3, side, 1)  # [n, d, side, columns, side]
        samples = band.permute(3, 0, 2, 4, 1).reshape(columns, n * side * side, dim).double()
        mean = samples.mean(1, keepdim=True)
        means.append(mean.squeeze(1))
        covariances.append(_regularised(samples - mean, config))
    return torch.stack(means), torch.stack(covariances)


def _regularised(centred: Tensor, config: HeadConfig) -> Tensor:
    """Covariance ``[k, d, d]`` of centred samples ``[k, n, d]`` with the regulariser asked for."""
    n, dim = centred.shape[1:]
    covariance = centred.transpose(1, 2) @ centred / n
    identity = torch.eye(dim, dtype=centred.dtype, device=centred.device)
    if config.regulariser == "ridge":
        return covariance + config.ridge * identity
    shrinkage, scale = ledoit_wolf(centred, covariance)
    return (1 - shrinkage).view(-1, 1, 1) * covariance + (shrinkage * scale).view(-1, 1, 1) * identity


def ledoit_wolf(centred: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Shrinkage towards a scaled identity (Ledoit and Wolf, 2004), batched; equals scikit-learn's ``LedoitWolf``.

    Args:
        centred: samples with zero mean, ``[k, n, d]``.
        covariance: their covariance ``[k, d, d]``, normalised by n.

    Returns:
        Shrinkage intensity in 0..1 ``[k]``, and the identity's scale (mean variance) ``[k]``.
    """
    n, dim = centred.shape[1:]
    scale = covariance.diagonal(dim1=1, dim2=2).mean(1)
    fourth = centred.square().sum(2).square().sum(1) / n
    squared = covariance.square().sum((1, 2))
    beta = (fourth - squared) / (dim * n)
    delta = squared / dim - scale.square()
    shrinkage = torch.where(delta > 0, torch.minimum(beta, delta) / delta.clamp_min(1e-300), torch.ones_like(beta))
    return shrinkage.clamp(0, 1), scale

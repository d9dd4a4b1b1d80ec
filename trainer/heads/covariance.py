"""From few samples to a matrix that whitens them: what makes a covariance invertible, each batched over positions.

A whitening ``W`` turns the squared Mahalanobis distance into ``||W x||^2`` (CutPaste, equation 2).

* ``ledoit-wolf`` and ``oas`` shrink the covariance towards a multiple of the identity, ``ridge`` adds one.
* ``low-rank`` keeps the variances of the ``components`` directions that vary most; all others share their mean
  variance, so that what lies outside of the kept directions counts by its length (probabilistic principal components,
  Tipping and Bishop, 1999, section 3.2).
* ``low-variance`` keeps the ``components`` directions that vary least and drops all others: Rippel et al. (2020, NPCA)
  found that these tell anomalies.  As in their code, directions in which no sample lies are none of them, and the kept
  variances are shrunk by Ledoit and Wolf's rule.  Theirs are as many as a share of the variance leaves over; ours are
  counted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.config import HeadConfig


def whiten(centred: Tensor, config: HeadConfig, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Whitening matrices of centred samples.

    Args:
        centred: samples with zero mean, float64 ``[b, n, d]``.
        config: regulariser, ridge, components.
        floor: variance added in every direction, a scalar.

    Returns:
        ``[b, k, d]``, where ``k`` is ``d`` or the components that are kept, and which of them are singular, ``[b]``;
        values of those mean nothing.
    """
    covariance = centred.transpose(1, 2) @ centred / centred.shape[1]
    if config.components is not None:
        return _whiten_directions(centred, covariance, config, floor)
    identity = torch.eye(centred.shape[2], dtype=centred.dtype, device=centred.device)
    regularised = _regularised(centred, covariance, config) + floor * identity
    factor, failed = torch.linalg.cholesky_ex(regularised)
    return torch.linalg.solve_triangular(factor, identity.expand_as(factor), upper=False), failed > 0


def ledoit_wolf(centred: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Shrinkage towards a scaled identity (Ledoit and Wolf, 2004), batched; equals scikit-learn's ``LedoitWolf``.

    Args:
        centred: samples with zero mean, ``[b, n, d]``.
        covariance: their covariance ``[b, d, d]``, normalised by n.

    Returns:
        Shrinkage intensity in 0..1 ``[b]``, and the identity's scale (mean variance) ``[b]``.
    """
    n, dim = centred.shape[1:]
    scale = covariance.diagonal(dim1=1, dim2=2).mean(1)
    fourth = centred.square().sum(2).square().sum(1) / n
    squared = covariance.square().sum((1, 2))
    beta = (fourth - squared) / (dim * n)
    delta = squared / dim - scale.square()
    shrinkage = torch.where(delta > 0, torch.minimum(beta, delta) / delta.clamp_min(1e-300), torch.ones_like(beta))
    return shrinkage.clamp(0, 1), scale


def oas(samples: int, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Oracle approximating shrinkage (Chen et al., 2010), batched; equals scikit-learn's ``OAS``, which like the
    authors' code leaves out the terms of equation 23 that vanish with many dimensions.

    Args:
        samples: how many the covariance is of.
        covariance: ``[b, d, d]``, normalised by their number.

    Returns:
        Shrinkage intensity in 0..1 ``[b]``, and the identity's scale (mean variance) ``[b]``.
    """
    scale = covariance.diagonal(dim1=1, dim2=2).mean(1)
    squared = covariance.square().mean((1, 2))
    spread = (samples + 1) * (squared - scale.square() / covariance.shape[1])
    shrinkage = (squared + scale.square()) / spread.clamp_min(1e-300)
    return shrinkage.clamp(0, 1), scale


def _regularised(centred: Tensor, covariance: Tensor, config: HeadConfig) -> Tensor:
    """``[b, d, d]`` with the regulariser asked for."""
    identity = torch.eye(centred.shape[2], dtype=centred.dtype, device=centred.device)
    if config.regulariser == "ridge":
        return covariance + config.ridge * identity
    if config.regulariser == "oas":
        shrinkage, scale = oas(centred.shape[1], covariance)
    else:
        shrinkage, scale = ledoit_wolf(centred, covariance)
    return (1 - shrinkage).view(-1, 1, 1) * covariance + (shrinkage * scale).view(-1, 1, 1) * identity


def _whiten_directions(centred: Tensor, covariance: Tensor, config: HeadConfig, floor: Tensor) -> tuple[Tensor, Tensor]:
    """Whitening from the principal directions, of which some are kept."""
    n, dim = centred.shape[1:]
    count = config.components or dim
    variances, directions = torch.linalg.eigh(covariance)  # rising
    most = variances[:, -1]
    if config.regulariser == "low-rank":
        rest = variances[:, :-count].mean(1, keepdim=True).expand(-1, dim - count)
        kept = torch.cat((rest, variances[:, -count:]), 1)
    else:
        first = dim - max(1, min(n - 1, dim))
        directions = directions[:, :, first : first + count]
        inside = centred @ directions
        shrinkage, scale = ledoit_wolf(inside, inside.transpose(1, 2) @ inside / n)
        shrinkage = shrinkage.unsqueeze(1)
        kept = (1 - shrinkage) * variances[:, first : first + count] + shrinkage * scale.unsqueeze(1)
    kept = kept + floor
    least = kept.amin(1)
    whitening = directions.transpose(1, 2) / kept.clamp_min(1e-300).sqrt().unsqueeze(2)
    return whitening, ~(least > dim * torch.finfo(kept.dtype).eps * most)

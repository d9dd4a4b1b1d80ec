"""Regularised covariances and the matrices that whiten samples, batched over positions.

A whitening ``W`` turns the squared Mahalanobis distance into ``||W x||^2`` (CutPaste, equation 2).

* ``ledoit-wolf`` and ``oas`` shrink the covariance towards a multiple of the identity; ``ridge`` adds a multiple.
* ``low-rank`` keeps the variances of the ``components`` directions that vary most.  All others share their mean
  variance (probabilistic principal components; Tipping and Bishop, 1999, section 3.2).
* ``low-variance`` keeps the ``components`` directions that vary least and drops all others (NPCA; Rippel et al., 2020).
  As in their code, directions without any sample are not among them, and the kept variances are shrunk by Ledoit and
  Wolf's rule.  They keep the directions that a share of the variance leaves over; here their number is given.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Regulariser = Literal["ledoit-wolf", "oas", "ridge", "low-rank", "low-variance"]

_TINY = 1e-300


@dataclass(frozen=True)
class Regularisation:
    """The settings that make a covariance invertible.

    Attributes:
        regulariser: the method.
        ridge: variance that ``ridge`` adds in every direction.
        components: number of directions that ``low-rank`` and ``low-variance`` keep, fewer than there are.
        floor: variance added in every direction by every method, as a share of the features' variance over all
            positions.
    """

    regulariser: Regulariser = "ledoit-wolf"
    ridge: float = 1e-6
    components: int | None = None
    floor: float = 0.01


@dataclass(frozen=True)
class Samples:
    """Samples with zero mean of ``b`` distributions.

    Attributes:
        blocks: the samples, ``[b, m, d]`` each; iterated more than once.
        count: number of samples of one distribution, ``n``.
        covariance: ``[b, d, d]``, normalised by ``n``.
    """

    blocks: Iterable[Floats]
    count: int
    covariance: Floats

    def fourth_moment(self, directions: Floats | None = None) -> Floats:
        """Return the mean of ``||x||^4``, ``[b]``; of the samples' coordinates along ``directions`` ``[b, d, k]`` if
        they are given.
        """
        total = np.zeros(len(self.covariance))
        for block in self.blocks:
            inside = block if directions is None else block @ directions
            squared = np.einsum("bmd,bmd->bm", inside, inside)
            total += np.einsum("bm,bm->b", squared, squared)
        return total / self.count


def samples_of(blocks: Iterable[Floats]) -> Samples:
    """Samples whose covariance is computed from the blocks.

    Args:
        blocks: samples with zero mean, ``[b, m, d]`` each, at least one block.
    """
    scatter: Floats = np.zeros(())
    count = 0
    for block in blocks:
        scatter = scatter + block.transpose(0, 2, 1) @ block
        count += block.shape[1]
    return Samples(blocks, count, scatter / count)


def ledoit_wolf(count: int, covariance: Floats, fourth_moment: Floats) -> tuple[Floats, Floats]:
    """Shrinkage towards a scaled identity (Ledoit and Wolf, 2004); equals scikit-learn's ``LedoitWolf``.

    Args:
        count: number of samples.
        covariance: ``[b, d, d]``, normalised by their number.
        fourth_moment: mean of ``||x||^4``, ``[b]``.

    Returns:
        Shrinkage intensity in 0..1 ``[b]``, and the identity's scale (mean variance) ``[b]``.
    """
    dim = covariance.shape[1]
    scale = _mean_variance(covariance)
    squared = np.einsum("bij,bij->b", covariance, covariance)
    beta = (fourth_moment - squared) / (dim * count)
    delta = squared / dim - scale**2
    shrinkage = np.where(delta > 0, np.minimum(beta, delta) / np.maximum(delta, _TINY), 1.0)
    return np.clip(shrinkage, 0, 1), scale


def oas(count: int, covariance: Floats) -> tuple[Floats, Floats]:
    """Oracle approximating shrinkage (Chen et al., 2010); equals scikit-learn's ``OAS``, which like the authors' code
    leaves out the terms of equation 23 that vanish with many dimensions.

    Args:
        count: number of samples.
        covariance: ``[b, d, d]``, normalised by their number.

    Returns:
        Shrinkage intensity in 0..1 ``[b]``, and the identity's scale (mean variance) ``[b]``.
    """
    scale = _mean_variance(covariance)
    squared = np.square(covariance).mean((1, 2))
    spread = (count + 1) * (squared - scale**2 / covariance.shape[1])
    return np.clip((squared + scale**2) / np.maximum(spread, _TINY), 0, 1), scale


def shrinkage(samples: Samples, settings: Regularisation) -> tuple[Floats, Floats]:
    """Weight of the covariance and variance of the identity that is added to it, ``[b]`` each, without the floor.

    Raises:
        ValueError: the regulariser keeps directions instead.
    """
    if settings.regulariser == "ridge":
        return np.ones(len(samples.covariance)), np.full(len(samples.covariance), settings.ridge)
    if settings.regulariser == "oas":
        intensity, scale = oas(samples.count, samples.covariance)
    elif settings.regulariser == "ledoit-wolf":
        intensity, scale = ledoit_wolf(samples.count, samples.covariance, samples.fourth_moment())
    else:
        raise ValueError(f"regulariser={settings.regulariser} does not shrink towards the identity")
    return 1 - intensity, intensity * scale


def whiten(samples: Samples, settings: Regularisation, floor: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Whitening matrices.

    Args:
        samples: of ``b`` distributions.
        settings: regulariser, ridge, components.
        floor: variance added in every direction.

    Returns:
        ``[b, k, d]``, where ``k`` is ``d`` or the number of kept components, and which of them are singular, ``[b]``;
        the values of those are meaningless.
    """
    if settings.components is not None:
        return _whiten_directions(samples, settings, floor)
    weight, identity = shrinkage(samples, settings)
    return whiten_matrices(weighted(samples.covariance, weight, identity + floor))


def weighted(covariance: Floats, weight: Floats, identity: Floats) -> Floats:
    """``weight * covariance + identity * I``, ``[b, d, d]``, with a weight and a variance ``[b]`` each."""
    result = weight[:, None, None] * covariance
    diagonal = np.arange(covariance.shape[1])
    result[:, diagonal, diagonal] += identity[:, None]
    return result


def whiten_matrices(matrices: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Inverses of the Cholesky factors of ``[b, d, d]``, and which matrices are not positive definite, ``[b]``."""
    try:
        factors = np.linalg.cholesky(matrices).astype(np.float64, copy=False)
        return _inverse_triangular(factors), np.zeros(len(matrices), dtype=np.bool_)
    except np.linalg.LinAlgError:
        if len(matrices) == 1:
            return np.zeros_like(matrices), np.ones(1, dtype=np.bool_)
    # numpy does not report which one it was.
    whitenings, singular = zip(*(whiten_matrices(matrix[None]) for matrix in matrices), strict=True)
    return np.concatenate(whitenings), np.concatenate(singular)


def _inverse_triangular(lower: Floats) -> Floats:
    """Inverse of lower triangular matrices ``[b, d, d]`` by halves, as numpy has no triangular solver."""
    dim = lower.shape[1]
    if dim == 1:
        return 1 / lower
    half = dim // 2
    inverse = np.zeros_like(lower)
    inverse[:, :half, :half] = first = _inverse_triangular(lower[:, :half, :half])
    inverse[:, half:, half:] = last = _inverse_triangular(lower[:, half:, half:])
    inverse[:, half:, :half] = -last @ (lower[:, half:, :half] @ first)
    return inverse


def _mean_variance(covariance: Floats) -> Floats:
    mean: Floats = np.einsum("bii->b", covariance) / covariance.shape[1]
    return mean


def _whiten_directions(samples: Samples, settings: Regularisation, floor: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Whitening from the principal directions, of which some are kept."""
    dim = samples.covariance.shape[1]
    count = settings.components or dim
    variances, directions = np.linalg.eigh(samples.covariance)  # rising
    largest = variances[:, -1]
    if settings.regulariser == "low-rank":
        rest = variances[:, :-count].mean(1, keepdims=True)
        kept = np.concatenate((np.repeat(rest, dim - count, 1), variances[:, -count:]), 1)
    else:
        first = dim - max(1, min(samples.count - 1, dim))
        directions = directions[:, :, first : first + count]
        inside = directions.transpose(0, 2, 1) @ samples.covariance @ directions
        intensity, scale = ledoit_wolf(samples.count, inside, samples.fourth_moment(directions))
        kept = (1 - intensity)[:, None] * variances[:, first : first + count] + (intensity * scale)[:, None]
    kept = kept + floor
    whitening = directions.transpose(0, 2, 1) / np.sqrt(np.maximum(kept, _TINY))[:, :, None]
    return whitening, ~(kept.min(1) > dim * np.finfo(np.float64).eps * largest)

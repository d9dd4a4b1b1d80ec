"""References: features of good parts that a head keeps, their length, and distances to them.

Most divide features by their length, as in the released code of the two-stage paper (``util/train.py``, eval_embed).
Both they and the references are then measured from the references' mean: distances are differences of large numbers
otherwise, as all features of parts that are alike point in nearly one direction, and fp32 has seven digits.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from trainer.config import HeadConfig
from trainer.heads.base import Head, Unfit
from trainer.heads.cam import l2_normalise, l2_pullback


@dataclass(frozen=True)
class ReferenceHead(Head):
    """A head whose score is made of distances to references, float32.

    Attributes:
        mean: of the references, ``[1, 1, d]``.
        references: less their mean, ``[k, d]``.
        at_unit_length: whether features are divided by their length first, as the references were.
    """

    mean: Tensor
    references: Tensor
    at_unit_length: ClassVar[bool] = True

    @abstractmethod
    def compare(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Scores ``[...]`` of features less the mean, ``[..., d]``, and their gradients there."""

    def score(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.score`."""
        return self.compare(self._place(features))[0]

    def gradient(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.gradient`: :meth:`compare`'s, through the division by the length."""
        gradient = self.compare(self._place(features))[1]
        return l2_pullback(features, gradient) if self.at_unit_length else gradient

    def squared_distances(self, place: Tensor) -> Tensor:
        """From each place ``[..., d]`` to each reference, ``[..., k]``, as a product of matrices."""
        lengths = place.square().sum(-1, keepdim=True) + self.references.square().sum(1)
        return (lengths - 2 * place @ self.references.transpose(0, 1)).clamp_min(0)

    def score_many(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.score_many`."""
        at_once = max(1, _AT_ONCE // (features.shape[1] * features.shape[2] * len(self.references)))
        return torch.cat([self.score(part) for part in torch.split(features, at_once)])

    def _place(self, features: Tensor) -> Tensor:
        return (l2_normalise(features) if self.at_unit_length else features) - self.mean


@dataclass(frozen=True)
class References:
    """The samples that a head is fitted on.

    Attributes:
        mean: of the samples at unit length, ``[1, 1, d]``, float64.
        centred: the samples at unit length less their mean, ``[k, d]``, float64.
        gamma: of a kernel ``exp(-gamma ||u - r||^2)``.
    """

    mean: Tensor
    centred: Tensor
    gamma: float


def make_references(features: Tensor, config: HeadConfig) -> References:
    """Features of good parts as references.

    The kernel's width is that of the released code: ``gamma = 10 / (d Var(U))``, with the variance of all entries of
    the samples at unit length.  It depends on the axes, unlike distances, so features should come as the encoder gives
    them; the graph turns them only if ``head.dim`` is less than all there are.

    Args:
        features: ``[n, rows, columns, d]``.
        config: how many references at most.

    Raises:
        Unfit: the features are all the same, but for their length.
    """
    unit = l2_normalise(drawn(features, config.references))
    mean = unit.mean(0)
    centred = unit - mean
    refuse_sameness(centred.square().sum(1).mean(), unit)
    variance = float(unit.var(correction=0))
    return References(mean.view(1, 1, -1), centred, _RELEASED / (unit.shape[1] * variance))


def drawn(features: Tensor, limit: int) -> Tensor:
    """Features of positions ``[k, d]`` in float64: all of them, or ``limit`` that are drawn at random, always the same
    ones; the released code draws at random too.
    """
    samples = features.reshape(-1, features.shape[-1])
    if len(samples) > limit:
        chosen = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))[:limit]
        samples = samples[chosen.sort().values.to(samples.device)]
    return samples.double()


def refuse_sameness(variance: Tensor, samples: Tensor) -> None:
    """Raise if samples ``[k, d]`` are all the same by their ``variance`` relative to their size.

    Raises:
        Unfit: they are, or are no numbers.
    """
    if not float(variance) > _MIN_VARIANCE:
        raise Unfit(
            f"{len(samples)} features that are all the same",
            "try another --seed or optimiser.learning_rate, with --restart: the encoder cannot distinguish images",
        )


def soft_minimum(squared: Tensor, weights: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """``-log(sum over i of weight_i exp(-gamma d_i)) / gamma``, for weights with a sum of 1, and how fast it rises.

    It lies between the least distance, of which it is at most ``-log(weight) / gamma`` away, and their weighted mean.
    Measured from the least one no exponential underflows, however far away all references are.

    Args:
        squared: distances ``d``, ``[..., k]``, at least 0.
        weights: ``[k]``.
        gamma: ``[1]``.

    Returns:
        The soft minimum ``[...]``, at least 0, and its derivatives ``[..., k]``, with a sum of 1.
    """
    least = squared.amin(-1, keepdim=True)
    shares = weights * (-gamma * (squared - least)).exp()
    total = shares.sum(-1, keepdim=True)
    soft = least - total.log() / gamma
    return soft.squeeze(-1).clamp_min(0), shares / total


_RELEASED = 10.0
"""The released code's factor: ten times scikit-learn's ``gamma="scale"``."""

_MIN_VARIANCE = 1e-12
"""Of features at unit length; rounding to fp32 alone gives some 1e-14."""

_AT_ONCE = 1 << 24
"""Distances in memory at a time; a few such tensors are, 64 MB each."""

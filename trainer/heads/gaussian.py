"""Gaussian density estimation on window features, exported as a mean and a whitening matrix.

CutPaste, equation 2: the anomaly score is the Mahalanobis distance to a Gaussian fitted to normal features.
The score is the squared distance ``||W (f - mean)||^2``; see :mod:`edge_occ.bundle.gaussian` for the fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from edge_occ.bundle import gaussian
from edge_occ.bundle.covariance import Regularisation
from edge_occ.bundle.gaussian import SingularCovariance
from edge_occ.bundle.sample_grid import GaussianSettings, Region
from edge_occ.bundle.standardise import OFFSET, LogScale
from trainer.config import HeadConfig
from trainer.heads.base import Head, Unfit


@dataclass(frozen=True)
class GaussianHead(Head):
    """A fitted head, float32.

    Attributes:
        mean: ``[rows, columns, d]``, or ``[1, 1, d]`` for all positions.
        whitening: ``[rows, columns, k, d]`` or ``[1, 1, k, d]``, or three quarters of lower triangular matrices
            ``[rows, columns, 3, d / 2, d / 2]``, see :func:`edge_occ.bundle.gaussian.without_zeros`.
    """

    mean: Tensor
    whitening: Tensor

    def score(self, features: Tensor) -> Tensor:
        """Squared Mahalanobis norm of features ``[n, rows, columns, d]``: ``[n, rows, columns]``."""
        # Not square(): ONNX Runtime computes a power many times slower than a product.
        return reduce(add, [(part * part).sum(-1) for part in self._whitened(features)])

    def gradient(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.gradient`: ``2 W^T W (f - mean)``."""
        whitened = torch.cat(self._whitened(features), -1)
        if self.whitening.ndim == _QUARTERS:
            upper, left, right = _by_quarter(whitened, self.whitening, (0, 1, 1))
            return 2 * torch.cat((upper + left, right), -1)
        return 2 * _product(whitened, self.whitening)

    def _whitened(self, features: Tensor) -> tuple[Tensor, ...]:
        """``W (f - mean)``, whole or in two halves."""
        if self.whitening.ndim == _QUARTERS:
            upper, left, right = _by_quarter(features - self.mean, self.whitening.transpose(3, 4), (0, 0, 1))
            return upper, left + right
        return (_product(features - self.mean, self.whitening.transpose(2, 3)),)


_QUARTERS = 5
"""Axes of a whitening that is three quarters of matrices."""


def _by_quarter(vectors: Tensor, quarters: Tensor, halves: tuple[int, int, int]) -> tuple[Tensor, ...]:
    """The products of halves of vectors ``[n, rows, columns, d]``, 0 the first and 1 the second, with a quarter of each
    position's matrix, ``[rows, columns, 3, d / 2, d / 2]``: three times ``[n, rows, columns, d / 2]``.

    One product for all of them, as runtimes start slowly; images are rows, as in :func:`_product`.
    """
    split = vectors.reshape(*vectors.shape[:3], 2, -1).permute(1, 2, 3, 0, 4)
    chosen = split.index_select(2, torch.tensor(halves, device=vectors.device))
    products: tuple[Tensor, ...] = (chosen @ quarters).permute(2, 3, 0, 1, 4).unbind()
    return products


def _product(vectors: Tensor, matrices: Tensor) -> Tensor:
    """``[n, rows, columns, a]`` times each position's matrix ``[rows, columns, a, b]``, or the one ``[1, 1, a, b]`` of
    all: ``[n, rows, columns, b]``.

    All images of a position at once: broadcasting the matrices over the images would copy them for each.  Images are
    rows, as ONNX Runtime has a faster product for one row (a frame) than for one column.
    """
    if matrices.shape[0] == matrices.shape[1] == 1:
        return vectors @ matrices[0, 0]
    return (vectors.permute(1, 2, 0, 3) @ matrices).permute(2, 0, 1, 3)


@dataclass(frozen=True)
class StandardisedGaussianHead(GaussianHead):
    """A Gaussian whose scores are standardised position by position; see :mod:`edge_occ.bundle.standardise`.

    Attributes:
        log_mean: mean of ``log(1 + score)`` of normal images, ``[rows, columns]``.
        log_deviation: its deviation, above 0.
    """

    log_mean: Tensor
    log_deviation: Tensor

    def score(self, features: Tensor) -> Tensor:
        """Standardised scores ``[n, rows, columns]``, at least 0, of features ``[n, rows, columns, d]``."""
        logs = (super().score(features) + 1).log()
        return ((logs - self.log_mean) / self.log_deviation + OFFSET).relu()

    def gradient(self, features: Tensor) -> Tensor:
        """See :meth:`trainer.heads.base.Head.gradient`."""
        slope = (self.score(features) > 0) / ((super().score(features) + 1) * self.log_deviation)
        return slope.unsqueeze(-1) * super().gradient(features)


def fit_gaussian(
    features: Tensor, config: HeadConfig, region: Region | None = None, scale: LogScale | None = None
) -> GaussianHead:
    """Fit to the features of normal images, in float64; see :func:`edge_occ.bundle.gaussian.fit_gaussian`.

    Args:
        features: ``[n, rows, columns, d]``.
        config: one scope, regulariser, ridge, components, floor, neighbourhood, trim.
        region: the positions to fit on, bool ``[rows, columns]``; None: all.
        scale: of the held-out scores, to standardise by; None: scores are distances.

    Raises:
        Unfit: the regularised covariance is singular (say, a ridge too small for features that do not vary).
    """
    try:
        fitted = gaussian.fit_gaussian(features.cpu().numpy(), gaussian_settings(config), region)
    except SingularCovariance as error:
        raise unfit(error) from error
    values = fitted.tensors() | ({} if scale is None else scale.tensors())
    tensors = {name: torch.from_numpy(of).to(features.device) for name, of in values.items()}
    return GaussianHead(**tensors) if scale is None else StandardisedGaussianHead(**tensors)


def gaussian_settings(config: HeadConfig) -> GaussianSettings:
    """Return the settings of a Gaussian head's fit; the first scope's."""
    regularisation = Regularisation(config.regulariser, config.ridge, config.components, config.floor)
    return GaussianSettings(config.scope[0], regularisation, config.neighbourhood, config.trim)


def unfit(error: SingularCovariance) -> Unfit:
    """Return the error for features that no Gaussian can be fitted to."""
    return Unfit(
        str(error),
        "use --set head.regulariser=ledoit-wolf or a larger head.floor; features that never vary need another encoder "
        "or other images",
    )

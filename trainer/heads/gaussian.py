"""Gaussian density estimation on window features, exported as a mean and a whitening matrix.

CutPaste, equation 2: the anomaly score is the Mahalanobis distance to a Gaussian fitted to normal features.
The score is the squared distance ``||W (f - mean)||^2``; see :mod:`edge_occ.bundle.gaussian` for the fit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edge_occ.bundle import gaussian
from edge_occ.bundle.covariance import Regularisation
from edge_occ.bundle.gaussian import GaussianSettings, SingularCovariance
from trainer.config import HeadConfig, Scope
from trainer.heads.base import Head, Unfit


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
    """Fit to the features of normal images, in float64; see :func:`edge_occ.bundle.gaussian.fit_gaussian`.

    Args:
        features: ``[n, rows, columns, d]``.
        config: regulariser, ridge, components, floor, neighbourhood, trim.
        scope: which positions share a Gaussian.

    Raises:
        Unfit: the regularised covariance is singular (say, a ridge too small for features that do not vary).
    """
    regularisation = Regularisation(config.regulariser, config.ridge, config.components, config.floor)
    settings = GaussianSettings(scope, regularisation, config.neighbourhood, config.trim)
    try:
        fitted = gaussian.fit_gaussian(features.cpu().numpy(), settings)
    except SingularCovariance as error:
        raise Unfit(
            str(error),
            "use --set head.regulariser=ledoit-wolf or a larger head.floor; features that never vary need another "
            "encoder or other images",
        ) from error
    return GaussianHead(**{name: torch.from_numpy(of).to(features.device) for name, of in fitted.tensors().items()})

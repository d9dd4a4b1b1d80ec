"""The head that the settings name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from edge_occ.bundle.sample_grid import Region
from edge_occ.bundle.standardise import LogScale
from trainer.config import HeadConfig, HeadKind
from trainer.heads.base import Head
from trainer.heads.gaussian import GaussianHead, StandardisedGaussianHead, fit_gaussian
from trainer.heads.kde import KdeHead, fit_kde
from trainer.heads.knn import KnnHead, fit_knn
from trainer.heads.nearest import NearestHead, fit_nearest
from trainer.heads.ocsvm import LinearHead, RbfHead, fit_linear, fit_rbf

CLASSES: Mapping[str, type[Head]] = {
    "gaussian": GaussianHead,
    "gaussian-standardised": StandardisedGaussianHead,
    "kde": KdeHead,
    "ocsvm": RbfHead,
    "ocsvm-linear": LinearHead,
    "nearest": NearestHead,
    "knn": KnnHead,
}
"""By ``head.kind``."""


def inside(features: Tensor, region: Region | None) -> Tensor:
    """Return features ``[n, rows, columns, d]`` at the positions of a region, ``[n, 1, p, d]``; None: as they are."""
    return features if region is None else features[:, torch.from_numpy(region)].unsqueeze(1)


def fit_head(features: Tensor, config: HeadConfig, region: Region | None = None, scale: LogScale | None = None) -> Head:
    """Fit a head to the features of normal images.

    Args:
        features: ``[n, rows, columns, d]``.
        config: kind of head, one scope, and its settings; heads of other kinds than ``gaussian`` are shared by all
            positions.
        region: the positions to fit on, bool ``[rows, columns]``; None: all.
        scale: of a Gaussian's held-out scores, to standardise by; None: scores are distances.

    Raises:
        Unfit: the features cannot carry such a head.
    """
    kind: HeadKind = config.kind
    if kind == "gaussian":
        return fit_gaussian(features, config, region, scale)
    features = inside(features, region)
    match kind:
        case "kde":
            return fit_kde(features, config)
        case "ocsvm":
            return fit_rbf(features, config)
        case "ocsvm-linear":
            return fit_linear(features, config)
        case "nearest":
            return fit_nearest(features, config)
        case "knn":
            return fit_knn(features, config)

"""The head that the settings name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from trainer.config import HeadConfig, HeadKind, Scope
from trainer.heads.base import Head
from trainer.heads.gaussian import GaussianHead, fit_gaussian
from trainer.heads.kde import KdeHead, fit_kde
from trainer.heads.knn import KnnHead, fit_knn
from trainer.heads.nearest import NearestHead, fit_nearest
from trainer.heads.ocsvm import LinearHead, RbfHead, fit_linear, fit_rbf

CLASSES: Mapping[str, type[Head]] = {
    "gaussian": GaussianHead,
    "kde": KdeHead,
    "ocsvm": RbfHead,
    "ocsvm-linear": LinearHead,
    "nearest": NearestHead,
    "knn": KnnHead,
}
"""By ``head.kind``."""


def fit_head(features: Tensor, config: HeadConfig, scope: Scope) -> Head:
    """Fit a head to the features of normal images.

    Args:
        features: ``[n, rows, columns, d]``.
        config: kind of head, and its settings.
        scope: which positions share a head; heads of other kinds than ``gaussian`` are shared by all.

    Raises:
        Unfit: the features cannot carry such a head.
    """
    kind: HeadKind = config.kind
    match kind:
        case "gaussian":
            return fit_gaussian(features, config, scope)
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

"""A Gaussian head and its threshold from features of normal images, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.bundle.covariance import Floats
from edge_occ.bundle.gaussian import Features, Gaussian, GaussianSettings, fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.manifest import Calibration


@dataclass(frozen=True)
class CalibratedGaussian:
    """A Gaussian head and its threshold.

    Attributes:
        gaussian: fitted to all images.
        held_out: image scores ``[n]``, each by a Gaussian that was fitted without the image.
        calibration: the threshold that follows from them.
    """

    gaussian: Gaussian
    held_out: Floats
    calibration: Calibration

    @property
    def threshold(self) -> ConformalThreshold:
        """The verdicts' rule."""
        return ConformalThreshold(self.held_out.tolist(), self.calibration.threshold)


def fit_and_calibrate(
    features: Features,
    settings: GaussianSettings,
    false_alarm_rate: float,
    image_score: Callable[[Floats], Floats],
    fold_of: NDArray[np.int64] | None = None,
) -> CalibratedGaussian:
    """Fit a Gaussian head and calibrate its threshold.

    Args:
        features: of normal images, each of another part, ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.
        false_alarm_rate: declared share of good parts above the threshold, between 0 and 0.5.
        image_score: image scores ``[n]`` from the scores of all positions, ``[n, rows, columns]``.
        fold_of: the fold of each image, ``[n]``; an image is scored by the Gaussian of the other folds.  None: by the
            one of all other images, see :func:`edge_occ.bundle.leave_one_out.leave_one_out`.

    Raises:
        ValueError: a single image or fold, or settings that leaving one image out does not support.
        SingularCovariance: the regularised covariance is singular.
    """
    grids = leave_one_out(features, settings) if fold_of is None else held_out_by_folds(features, settings, fold_of)
    held_out = image_score(grids)
    return CalibratedGaussian(fit_gaussian(features, settings), held_out, calibrate(held_out, false_alarm_rate))


def held_out_by_folds(features: Features, settings: GaussianSettings, fold_of: NDArray[np.int64]) -> Floats:
    """Score every image by the Gaussian of the other folds: ``[n, rows, columns]``.

    Args:
        features: ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.
        fold_of: the fold of each image, ``[n]``.

    Raises:
        ValueError: a single fold.
        SingularCovariance: the regularised covariance is singular.
    """
    folds = np.unique(fold_of)
    if len(folds) < 2:
        raise ValueError("held-out scores need at least two folds")
    grids = np.empty(features.shape[:3])
    for fold in folds:
        inside = fold_of == fold
        grids[inside] = fit_gaussian(features[~inside], settings).score(features[inside])
    return grids

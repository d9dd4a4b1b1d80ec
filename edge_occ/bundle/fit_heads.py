"""A Gaussian head and its threshold from features of normal images, without torch: refitting on a device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.bundle.covariance import Floats
from edge_occ.bundle.gaussian import Features, Gaussian, GaussianSettings, Region, fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.manifest import Calibration
from edge_occ.bundle.standardise import LogScale, log_scale, standardise_held_out


@dataclass(frozen=True)
class CalibratedGaussian:
    """A Gaussian head and its threshold.

    Attributes:
        gaussian: fitted to all images.
        scale: of the scores of all images, to standardise by; None: scores are distances.
        held_out: image scores ``[n]``, each by a Gaussian that was fitted without the image, and by the scale of the
            others.
        calibration: the threshold that follows from them.
    """

    gaussian: Gaussian
    scale: LogScale | None
    held_out: Floats
    calibration: Calibration

    @property
    def threshold(self) -> ConformalThreshold:
        """The verdicts' rule."""
        return ConformalThreshold(self.held_out.tolist(), self.calibration.threshold)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """The head's tensors, as they are stored in a bundle and put into an engine."""
        return self.gaussian.tensors() | ({} if self.scale is None else self.scale.tensors())


def fit_and_calibrate(
    features: Features,
    settings: GaussianSettings,
    false_alarm_rate: float,
    image_score: Callable[[Floats], Floats],
    *,
    region: Region | None = None,
    standardise: bool = False,
) -> CalibratedGaussian:
    """Fit a Gaussian head and calibrate its threshold by leaving out one image at a time.

    Args:
        features: of normal images, each of another part, ``[n, rows, columns, d]``.
        settings: scope, regularisation and neighbourhood.
        false_alarm_rate: declared share of good parts above the threshold, between 0 and 0.5.
        image_score: image scores ``[n]`` from the scores of all positions, ``[n, rows, columns]``, or of the ``p`` of a
            region, ``[n, 1, p]``.
        region: the positions to fit on and to score; None: all.
        standardise: whether to measure each position by the mean and deviation of its own scores.

    Raises:
        ValueError: a single image, or settings that leaving one image out does not support.
        SingularCovariance: the regularised covariance is singular.
    """
    grids, scale = leave_one_out(features, settings, region=region), None
    if standardise:
        parts, scale = np.arange(len(features)), log_scale(grids, region)
        grids = standardise_held_out(grids, parts, grids, parts, region)
    held_out = image_score(grids)
    calibration = calibrate(held_out, false_alarm_rate)
    return CalibratedGaussian(fit_gaussian(features, settings, region), scale, held_out, calibration)

"""Stage 2: a head on the features of normal images, and a threshold for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.errors import InputError
from edge_occ.manifest import Calibration
from edge_occ.members import head_member
from trainer.calibrate import calibrate, held_out_scores
from trainer.config import TrainConfig
from trainer.graph import ScoreMap
from trainer.heads.gaussian import GaussianHead, fit_gaussian


@dataclass(frozen=True)
class CalibratedHead:
    """A head and its threshold.

    Attributes:
        head: fitted on all images.
        held_out: image scores ``[n]``, each by a head that had not seen the image.
        calibration: the threshold that follows from them.
    """

    head: GaussianHead
    held_out: NDArray[np.float64]
    calibration: Calibration

    @property
    def member(self) -> bytes:
        """As it goes into the bundle."""
        return head_member(self.head.mean.numpy(), self.head.whitening.numpy(), self.held_out)


def fit_head(features: Tensor, score_map: ScoreMap, config: TrainConfig, seed: int) -> CalibratedHead:
    """Fit and calibrate a head.

    Args:
        features: of all normal images, ``[n, rows, columns, d]``.
        score_map: from grid scores to image scores, on any device.
        config: head and calibration settings.
        seed: of the assignment of images to folds.

    Raises:
        InputError: the features cannot carry a Gaussian.
    """

    def fit_and_score(normal: Tensor, others: Tensor) -> Tensor:
        fitted = fit_gaussian(normal, config.head)
        scores: Tensor = score_map(fitted.score(others).to(score_map.spread.device))[0]
        return scores.cpu()

    try:
        held_out = held_out_scores(features, config.calibration.folds, seed, fit_and_score)
        head = fit_gaussian(features, config.head)
    except ValueError as error:
        raise InputError(
            "features that vary enough for a Gaussian",
            str(error),
            "use --set head.regulariser=ledoit-wolf or a larger ridge",
        ) from error
    return CalibratedHead(head, held_out, calibrate(held_out, config.calibration.false_alarm_rate))

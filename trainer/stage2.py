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


class Stage2:
    """How heads are fitted and scored in one training.

    Args:
        score_map: from grid scores to image scores, on any device.
        config: head and calibration settings.
        seed: of the assignment of images to folds.
    """

    def __init__(self, score_map: ScoreMap, config: TrainConfig, seed: int) -> None:
        self._score_map, self._config, self._seed = score_map, config, seed

    def fit(self, features: Tensor) -> CalibratedHead:
        """Fit and calibrate a head on the features of all normal images, ``[n, rows, columns, d]``.

        Raises:
            InputError: the features cannot carry a Gaussian.
        """
        try:
            held_out = self.held_out(features)
            head = fit_gaussian(features, self._config.head)
        except ValueError as error:
            raise InputError(
                "features that vary enough for a Gaussian",
                str(error),
                "use --set head.regulariser=ledoit-wolf or a larger ridge",
            ) from error
        return CalibratedHead(head, held_out, calibrate(held_out, self._config.calibration.false_alarm_rate))

    def held_out(self, features: Tensor, scored: Tensor | None = None) -> NDArray[np.float64]:
        """Score every image by a head that was fitted without it; see :func:`trainer.calibrate.held_out_scores`."""
        calibration = self._config.calibration
        return held_out_scores(features, calibration.folds, self._seed, self._fit_and_score, scored)

    def _fit_and_score(self, normal: Tensor, others: Tensor) -> Tensor:
        fitted = fit_gaussian(normal, self._config.head)
        scores: Tensor = self._score_map(fitted.score(others).to(self._score_map.spread.device))[0]
        return scores.cpu()

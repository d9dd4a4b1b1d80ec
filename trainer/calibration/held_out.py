"""Scores of normal images by heads that had not seen them, from which a threshold with a guarantee follows.

A Gaussian scores every image without its part in closed form (:mod:`edge_occ.bundle.leave_one_out`).  Other heads are
fitted once a fold: every image is scored by the head of the other folds, and all shots of one part are in one fold.
The threshold is the conformal quantile of these scores, one a part; see :mod:`edge_occ.bundle.conformal`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edge_occ.bundle.gaussian import SingularCovariance
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.sample_grid import Region
from edge_occ.bundle.standardise import LogScale, log_scale, standardise_held_out
from edge_occ.common.progress import ProgressReport
from trainer.config import HeadConfig
from trainer.heads.build import fit_head, inside
from trainer.heads.gaussian import gaussian_settings, unfit


@dataclass(frozen=True)
class Shots:
    """The parts that images show, and their assignment to folds.

    Attributes:
        parts: the part of each image, ``[n]``, from 0 without gaps.
        fold_of: the fold of each part, ``[parts]``.
    """

    parts: Tensor
    fold_of: Tensor

    @classmethod
    def of(cls, parts: Tensor, folds: int, seed: int) -> Shots:
        """Assign parts to folds at random; at most as many folds as parts, whose sizes differ by one at most."""
        return cls(parts, folds_of(int(parts.max()) + 1, folds, seed))


def folds_of(n: int, folds: int, seed: int) -> Tensor:
    """Assign ``n`` parts to folds, ``[n]``; at most ``n`` folds, whose sizes differ by one at most."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed)) % min(folds, n)


def held_out_scores(
    features: Tensor,
    config: HeadConfig,
    shots: Shots,
    region: Region | None = None,
    *,
    scored: Tensor | None = None,
    left_out: Tensor | None = None,
    progress: ProgressReport | None = None,
) -> Tensor:
    """Score images by heads that were fitted without their parts; not standardised.

    Args:
        features: of all normal images, ``[n, rows, columns, d]``.
        config: of a head with one scope.
        shots: the parts of the normal images.
        region: the positions to fit on and to score, bool ``[rows, columns]``; None: all.
        scored: features of the images to score, ``[m, rows, columns, d]``; None: the normal images.
        left_out: the part that each scored image is scored without, ``[m]``; None: those of the first ``m`` normal
            images.
        progress: advanced by 1 in total.

    Returns:
        ``[m, rows, columns]``, or ``[m, 1, p]`` with a region of ``p`` positions.

    Raises:
        Unfit: the features cannot carry such a head.
    """
    scored = features if scored is None else scored
    left_out = shots.parts[: len(scored)] if left_out is None else left_out
    if config.kind == "gaussian" and config.components is None and not config.trim:
        try:
            grids = leave_one_out(
                features.numpy(),
                gaussian_settings(config),
                parts=shots.parts.numpy(),
                scored=scored.numpy(),
                left_out=left_out.numpy(),
                region=region,
            )
        except SingularCovariance as error:
            raise unfit(error) from error
        result = torch.from_numpy(grids).float()
    else:
        result = _by_folds(features, config, shots, region, scored, left_out)
    if progress is not None:
        progress.advance()
    return result


def _by_folds(
    features: Tensor, config: HeadConfig, shots: Shots, region: Region | None, scored: Tensor, left_out: Tensor
) -> Tensor:
    fold_of_image, fold_of_scored = shots.fold_of[shots.parts], shots.fold_of[left_out]
    found = []
    for fold in range(int(shots.fold_of.max()) + 1):
        head = fit_head(features[fold_of_image != fold], config, region)
        found.append(head.score_many(inside(scored[fold_of_scored == fold], region)))
    back = torch.argsort(torch.argsort(fold_of_scored, stable=True))
    return torch.cat(found)[back]


def standardised(
    normal: Tensor, shots: Shots, region: Region | None, scored: Tensor, left_out: Tensor | None = None
) -> tuple[Tensor, LogScale]:
    """Standardise held-out scores, each by the scale of the other parts.

    Args:
        normal: scores of the normal images by :func:`held_out_scores`.
        shots: their parts.
        region: the positions that they are of; None: all.
        scored: scores to standardise, ``[m, ...]``.
        left_out: the part that each of them is standardised without, ``[m]``; None: those of the first ``m`` normal
            images.

    Returns:
        The standardised scores ``[m, ...]``, and the scale of all normal images.
    """
    left_out = shots.parts[: len(scored)] if left_out is None else left_out
    raw = normal.double().numpy()
    found = standardise_held_out(raw, shots.parts.numpy(), scored.double().numpy(), left_out.numpy(), region)
    return torch.from_numpy(found).float(), log_scale(raw, region)

"""Heads fitted to the features of normal images, their fusion, and its threshold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.manifest import Calibration
from edge_occ.bundle.tensors import head_member
from edge_occ.common.errors import InputError
from edge_occ.common.progress import ProgressReport
from trainer.calibration.held_out import folds_of_parts, held_out_grids, one_score_a_part
from trainer.config import HeadConfig, TrainConfig
from trainer.graph.branches import Branch
from trainer.heads.base import Unfit
from trainer.heads.build import fit_head
from trainer.heads.fused import FusedHead, weighted_sum


@dataclass(frozen=True)
class CalibratedHead:
    """Heads and their threshold.

    Attributes:
        head: fitted on all images.
        held_out: image scores ``[parts]``, each by heads that had not seen the part; the highest of its shots.
        as_taken: the same without the changed copies of images.
        calibration: the threshold that follows from them.
    """

    head: FusedHead
    held_out: NDArray[np.float64]
    as_taken: NDArray[np.float64]
    calibration: Calibration

    @property
    def member(self) -> bytes:
        """The member of the bundle."""
        tensors = {name: tensor.numpy() for name, tensor in self.head.tensors().items()}
        return head_member(tensors, self.held_out)


class HeadCalibrator:
    """Fits and calibrates the heads of one training.

    Features of ``n`` images may be followed by those of changed copies, ``n`` each, in the same order
    (:mod:`trainer.augment.camera`): a copy is one more shot of its image's part.  A threshold from the highest score of
    each part's shots then holds for frames as they were taken and for changed ones.

    Args:
        branches: of the graph; on any device.
        config: head, fusion and calibration settings.
        seed: of the assignment of parts to folds.
        parts: part that each image shows, ``[n]``, from 0 without gaps; None: a different one each.
    """

    def __init__(
        self, branches: Sequence[Branch], config: TrainConfig, seed: int, parts: Sequence[int] | None = None
    ) -> None:
        self._branches, self._config, self._seed, self._given = branches, config, seed, parts

    def fit(self, features: Sequence[Tensor], grids: Sequence[Tensor] | None = None) -> CalibratedHead:
        """Fit and calibrate heads.

        Args:
            features: of all normal images and their copies, ``[m, rows, columns, d]`` for each branch.
            grids: the result of :meth:`grids` for them, if it is known already.

        Raises:
            InputError: the features cannot carry a head.
        """
        with fitting():
            grids = self.grids(features) if grids is None else grids
            heads = tuple(fit_head(features[i], own, own.scope[0]) for i, own in self._heads(len(features[0])))
        scores = torch.stack(
            [self._branches[i].score(grid) for (i, _), grid in zip(self._config.heads, grids, strict=True)]
        )
        fusion = self._config.fusion
        spread = scores.double().std(1, correction=0).clamp_min(1e-12)
        score_weights = _weights(fusion.score_weights, len(heads)) / spread
        map_weights = _weights(fusion.map_weights, len(heads)) / spread
        parts = self._parts(len(features[0]))
        fused = weighted_sum(scores.double(), score_weights).numpy()
        held_out = one_score_a_part(fused, parts)
        images = self._images(len(fused))
        calibration = calibrate(held_out, self._config.calibration.false_alarm_rate)
        map_weights = map_weights * self._map_scale(grids, map_weights, calibration.threshold, parts)
        head = FusedHead(heads, score_weights.float(), map_weights.float())
        return CalibratedHead(head, held_out, one_score_a_part(fused[:images], parts[:images]), calibration)

    def held_out(self, features: Sequence[Tensor], scored: Sequence[Tensor], head: FusedHead) -> NDArray[np.float64]:
        """Score every part by heads that were fitted without it, ``[parts]``, with the fusion of ``head``.

        Args:
            features: what is fitted on, ``[m, rows, columns, d]`` for each branch.
            scored: the images in another precision, without their copies: ``[n, rows, columns, d]``.
            head: gives the weights.
        """
        scores = self.scores(self.grids(features, scored), head)
        return one_score_a_part(scores, self._parts(len(scored[0])))

    def grids(self, features: Sequence[Tensor], scored: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Scores of every image by heads that were fitted without its part: ``[n, rows, columns]`` for each head.

        Raises:
            InputError: the features cannot carry a head.
        """
        calibration, heads = self._config.calibration, self._heads(len(features[0]))
        fold_of = folds_of_parts(self._parts(len(features[0])), calibration.folds, self._seed)
        with fitting(), ProgressReport("calibrating", int(fold_of.max() + 1) * len(heads)) as progress:
            return [
                held_out_grids(
                    features[i],
                    fold_of,
                    partial(fit_and_score, config=own),
                    None if scored is None else scored[i],
                    progress,
                )
                for i, own in heads
            ]

    def scores(self, grids: Sequence[Tensor], head: FusedHead) -> NDArray[np.float64]:
        """Return the image score of every shot from its grids, fused: ``[n]``.

        Args:
            grids: scores of every position, ``[n, rows, columns]`` for each head; see :meth:`grids`.
            head: gives the weights.
        """
        scores = (
            self._branches[i].score(grid).double() for (i, _), grid in zip(self._config.heads, grids, strict=True)
        )
        return weighted_sum(scores, head.score_weights.double()).numpy()

    def maps(self, grids: Sequence[Tensor], weights: Tensor) -> Iterator[Tensor]:
        """Yield the score maps of all shots, fused with ``weights``, some at a time: ``[k, size, size]``."""
        branches = [self._branches[i] for i, _ in self._config.heads]
        for first in range(0, len(grids[0]), _CHUNK):
            yield weighted_sum(
                [branch.maps(grid[first : first + _CHUNK]) for branch, grid in zip(branches, grids, strict=True)],
                weights.float(),
            )

    def _images(self, shots: int) -> int:
        """How many of the shots are images, the first ones; the others are their copies."""
        return shots if self._given is None else len(self._given)

    def _parts(self, shots: int) -> Tensor:
        given = torch.arange(shots) if self._given is None else torch.tensor(self._given)
        return given.repeat(shots // len(given))

    def _heads(self, shots: int) -> Sequence[tuple[int, HeadConfig]]:
        """Every head; positions are pooled as the images alone ask for, as copies are no further samples."""
        images = self._images(shots)
        if images == shots:
            return self._config.heads
        return tuple(
            (i, own.model_copy(update={"neighbourhood": own.samples_side(images)})) for i, own in self._config.heads
        )

    def _map_scale(self, grids: Sequence[Tensor], weights: Tensor, threshold: float, parts: Tensor) -> float:
        """Return the factor by which fused maps have the units of the image score: with it, the share of held-out good
        parts whose map is above the threshold anywhere is the declared one.
        """
        if len(grids) == 1:
            return 1.0
        peaks = [maps.amax((1, 2)) for maps in self.maps(grids, weights)]
        highest = one_score_a_part(torch.cat(peaks).double().numpy(), parts)
        return threshold / calibrate(highest, self._config.calibration.false_alarm_rate).threshold


@contextmanager
def fitting() -> Iterator[None]:
    """A context that turns :class:`Unfit` into an error for the user.

    Raises:
        InputError: a head could not be fitted inside.
    """
    try:
        yield
    except Unfit as error:
        raise InputError("features that vary enough for a head", str(error), error.advice) from error


def fit_and_score(normal: Tensor, others: Tensor, config: HeadConfig) -> Tensor:
    """Fit a head of one scope on features ``[n, rows, columns, d]`` and score others: ``[m, rows, columns]``."""
    return fit_head(normal, config, config.scope[0]).score_many(others)


def _weights(given: Sequence[float] | None, heads: int) -> Tensor:
    weights = torch.ones(heads) if given is None else torch.tensor(given)
    return (weights / weights.sum()).double()


_CHUNK = 32
"""Images whose maps are in memory at a time."""

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
from edge_occ.bundle.fusion import map_factor, one_score_a_part, pooled, weights_by_spread
from edge_occ.bundle.manifest import Calibration
from edge_occ.bundle.sample_grid import Region
from edge_occ.bundle.standardise import LogScale
from edge_occ.bundle.tensors import head_member
from edge_occ.common.errors import InputError
from edge_occ.common.progress import ProgressReport
from trainer.calibration.held_out import Shots, held_out_scores, standardised
from trainer.config import HeadConfig, TrainConfig
from trainer.graph.branches import Branch
from trainer.heads.base import Unfit
from trainer.heads.build import fit_head, inside
from trainer.heads.fused import FusedHead, weighted_sum


@dataclass(frozen=True)
class CalibratedHead:
    """Heads and their threshold.

    Attributes:
        head: fitted on all images.
        held_out: image scores ``[parts]`` by heads that had not seen the part, images and changed copies pooled.
        as_taken: those of each part's images alone, ``[parts]``; the highest of its shots.
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


@dataclass(frozen=True)
class _Member:
    """A head of a branch: indices of the branch and of the head in it, and the head's own settings."""

    index: int
    place: int
    branch: Branch
    config: HeadConfig

    @property
    def region(self) -> Region | None:
        return self.branch.region(self.place)

    def pooling_for(self, images: int) -> HeadConfig:
        """Return the settings with the positions to pool resolved: copies and folds must not change their number."""
        return self.config.model_copy(update={"neighbourhood": self.config.samples_side(images)})

    def score(self, grid: Tensor) -> Tensor:
        return self.branch.score(grid, self.place)

    def maps(self, grid: Tensor) -> Tensor:
        return self.branch.maps(grid, self.place)


@dataclass(frozen=True)
class HeldOut:
    """Scores of images by a head that was fitted without their parts.

    Attributes:
        grid: of every position ``[m, rows, columns]``, or ``[m, 1, p]`` in a region.
        scale: of the normal images, by which they are standardised; None: they are not.
    """

    grid: Tensor
    scale: LogScale | None


class HeadCalibrator:
    """Fits and calibrates the heads of one training.

    Features of ``n`` images may be followed by those of changed copies, ``n`` each, in the same order
    (:mod:`trainer.augment.camera`).  The threshold is then from the pooled scores of both
    (:func:`edge_occ.bundle.fusion.pooled`): it holds for frames of which some are as taken and others are changed.

    Args:
        branches: of the graph; on any device.
        config: head, fusion and calibration settings.
        seed: of the assignment of parts to folds.
        parts: part that each image shows, ``[n]``, from 0 without gaps; None: a different one each.
    """

    def __init__(
        self, branches: Sequence[Branch], config: TrainConfig, seed: int, parts: Sequence[int] | None = None
    ) -> None:
        self._config, self._seed, self._given = config, seed, parts
        self._members = [
            _Member(i, k, branches[i], own)
            for i, branch in enumerate(config.branches)
            for k, own in enumerate(branch.head.each)
        ]

    def fit(self, features: Sequence[Tensor], held_out: Sequence[HeldOut] | None = None) -> CalibratedHead:
        """Fit and calibrate heads.

        Args:
            features: of all normal images and their copies, ``[m, rows, columns, d]`` for each branch.
            held_out: the result of :meth:`held_out_grids` for them, if it is known already.

        Raises:
            InputError: the features cannot carry a head.
        """
        shots = self._shots(len(features[0]))
        images = self._images(len(features[0]))
        scored = self.held_out_grids(features) if held_out is None else held_out
        with fitting():
            heads = tuple(
                fit_head(features[member.index], member.pooling_for(images), member.region, own.scale)
                for member, own in zip(self._members, scored, strict=True)
            )
        grids = [own.grid for own in scored]
        scores = torch.stack([member.score(grid) for member, grid in zip(self._members, grids, strict=True)])
        fusion = self._config.fusion
        of_heads = scores.double().numpy()
        score_weights, map_weights = (
            torch.from_numpy(weights_by_spread(given, of_heads)) for given in (fusion.score_weights, fusion.map_weights)
        )
        fused = weighted_sum(scores.double(), score_weights).numpy()
        of_parts = self._of_parts(fused)
        calibration = calibrate(of_parts, self._config.calibration.false_alarm_rate)
        map_weights = map_weights * self._map_scale(grids, map_weights, calibration.threshold)
        head = FusedHead(heads, score_weights.float(), map_weights.float())
        as_taken = one_score_a_part(fused[:images], shots.parts[:images].numpy())
        return CalibratedHead(head, of_parts, as_taken, calibration)

    def held_out(self, features: Sequence[Tensor], scored: Sequence[Tensor], head: FusedHead) -> NDArray[np.float64]:
        """Score every part by heads that were fitted without it, ``[parts]``, with the fusion of ``head``.

        Args:
            features: what is fitted on, ``[m, rows, columns, d]`` for each branch.
            scored: the images in another precision, without their copies: ``[n, rows, columns, d]``.
            head: gives the weights.
        """
        held_out = self.held_out_grids(features, scored)
        scores = self.scores([own.grid for own in held_out], head)
        return one_score_a_part(scores, self._shots(len(scores)).parts.numpy())

    def held_out_grids(self, features: Sequence[Tensor], scored: Sequence[Tensor] | None = None) -> list[HeldOut]:
        """Score the normal images, or other images of the same parts, by heads that were fitted without their parts.

        Args:
            features: of all normal images and their copies, ``[m, rows, columns, d]`` for each branch.
            scored: of the images to score, ``[n, rows, columns, d]``; None: the same.

        Raises:
            InputError: the features cannot carry a head.
        """
        shots, images = self._shots(len(features[0])), self._images(len(features[0]))
        found = []
        with fitting(), ProgressReport("calibrating", len(self._members)) as progress:
            for member in self._members:
                of = partial(held_out_scores, features[member.index], member.pooling_for(images), shots, member.region)
                own = of(scored=None if scored is None else scored[member.index], progress=progress)
                scale = None
                if member.config.standardise[0]:
                    normal = own if scored is None else of()
                    own, scale = standardised(normal, shots, member.region, own)
                found.append(HeldOut(own, scale))
        return found

    def grids(self, features: Sequence[Tensor], head: FusedHead) -> list[Tensor]:
        """Return the scores of every position by fitted heads, ``[n, rows, columns]`` for each head.

        Args:
            features: of any images, ``[n, rows, columns, d]`` for each branch.
            head: the heads.
        """
        return [
            part.score_many(inside(features[member.index], member.region))
            for part, member in zip(head.parts, self._members, strict=True)
        ]

    def scores(self, grids: Sequence[Tensor], head: FusedHead) -> NDArray[np.float64]:
        """Return the image score of every shot from its grids, fused: ``[n]``.

        Args:
            grids: scores of every position, for each head; see :meth:`held_out_grids` and :meth:`grids`.
            head: gives the weights.
        """
        scores = (member.score(grid).double() for member, grid in zip(self._members, grids, strict=True))
        return weighted_sum(scores, head.score_weights.double()).numpy()

    def maps(self, grids: Sequence[Tensor], weights: Tensor) -> Iterator[Tensor]:
        """Yield the score maps of all shots, fused with ``weights``, some at a time: ``[k, height, width]``."""
        members = list(zip(self._members, grids, strict=True))
        for first in range(0, len(grids[0]), _CHUNK):
            yield weighted_sum([member.maps(grid[first : first + _CHUNK]) for member, grid in members], weights.float())

    def _images(self, shots: int) -> int:
        """Number of the shots that are images, which come first; the others are their copies."""
        return shots if self._given is None else len(self._given)

    def _shots(self, shots: int) -> Shots:
        given = torch.arange(shots) if self._given is None else torch.tensor(self._given)
        return Shots.of(given.repeat(shots // len(given)), self._config.calibration.folds, self._seed)

    def _of_parts(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return one score a part from those of all shots ``[n]``; images and their copies are pooled."""
        images = self._images(len(scores))
        parts = self._shots(images).parts.numpy()
        return pooled(np.stack([one_score_a_part(block, parts) for block in scores.reshape(-1, images)]))

    def _map_scale(self, grids: Sequence[Tensor], weights: Tensor, threshold: float) -> float:
        """Return the factor of :func:`edge_occ.bundle.fusion.map_factor`; 1 for one head."""
        if len(grids) == 1:
            return 1.0
        peaks = [maps.amax((1, 2)) for maps in self.maps(grids, weights)]
        rate = self._config.calibration.false_alarm_rate
        return map_factor(self._of_parts(torch.cat(peaks).double().numpy()), threshold, rate)


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


_CHUNK = 32
"""Images whose maps are in memory at a time."""

"""Gaussian heads and their threshold from features of normal images, without torch: refitting on a device.

The arithmetic is that of the training: :mod:`trainer.calibration.fit_heads` does the same for heads of any kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.conformal import ConformalThreshold, calibrate
from edge_occ.bundle.covariance import Floats
from edge_occ.bundle.fusion import map_factor, one_score_a_part, weights_by_spread
from edge_occ.bundle.gaussian import Gaussian, fit_gaussian, from_tensors
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.manifest import Calibration
from edge_occ.bundle.recipe import HeadRecipe, Recipe
from edge_occ.bundle.sample_grid import Features, pooled_side
from edge_occ.bundle.score_map import ScoreMap
from edge_occ.bundle.standardise import LogScale, log_scale, standardise_held_out
from edge_occ.common.progress import ProgressReport
from edge_occ.common.size import Size
from engines.base import LOG_DEVIATION, LOG_MEAN, MAP_WEIGHTS, MEAN, SCORE_WEIGHTS, WHITENING, of_head

Head = Mapping[str, NDArray[np.float32]]
"""The tensors of all heads by name, as they are stored in a bundle and put into an engine."""

_CHUNK = 32
"""Images whose maps are in memory at a time."""


@dataclass(frozen=True)
class FittedHeads:
    """Heads and their threshold.

    Attributes:
        head: fitted to all images.
        held_out: image scores ``[parts]``, each by heads that were fitted without the part.
        calibration: the threshold that follows from them.
    """

    head: Head
    held_out: Floats
    calibration: Calibration

    @property
    def threshold(self) -> ConformalThreshold:
        """The verdicts' rule."""
        return ConformalThreshold(self.held_out.tolist(), self.calibration.threshold)


class HeadFitter:
    """Fits, calibrates and computes the heads of a bundle from features.

    Args:
        recipe: of the bundle.
        size: height and width of the resized frame.

    Raises:
        ValueError: the recipe's region is of another size.
    """

    def __init__(self, recipe: Recipe, size: Size) -> None:
        self._recipe = recipe
        self._maps: list[ScoreMap] = [recipe.score_map(k, size) for k in range(len(recipe.heads))]

    def fit(
        self, features: Sequence[Features], false_alarm_rate: float, parts: NDArray[np.int64] | None = None
    ) -> FittedHeads:
        """Fit all heads and calibrate their threshold; shows progress.

        Args:
            features: of normal images, ``[n, rows, columns, d]`` for each branch.
            false_alarm_rate: declared share of good parts above the threshold, between 0 and 0.5.
            parts: part that each image shows, ``[n]``, from 0 without gaps, two at least; None: a different one each.

        Raises:
            SingularCovariance: features do not vary enough for a head.
        """
        parts = np.arange(len(features[0])) if parts is None else parts
        heads, grids, scores = [], [], []
        with ProgressReport("fitting heads", 2 * len(self._maps)) as progress:
            for own, score_map in zip(self._recipe.heads, self._maps, strict=True):
                grid, tensors = self._fit_one(own, score_map, features[own.branch], parts, progress)
                heads.append(tensors)
                grids.append(grid)
                scores.append(score_map.scores(grid))
        if len(heads) == 1:
            held_out = one_score_a_part(scores[0], parts)
            return FittedHeads(heads[0], held_out, calibrate(held_out, false_alarm_rate))
        return self._fuse(heads, grids, np.stack(scores), false_alarm_rate, parts)

    def grids(self, head: Head, features: Sequence[Features]) -> list[Floats]:
        """Return the scores of every position, ``[n, rows, columns]`` or in a region ``[n, 1, p]``, of each head.

        Args:
            head: the heads.
            features: of any images, ``[n, rows, columns, d]`` for each branch.
        """
        found = []
        for k, (own, score_map) in enumerate(zip(self._recipe.heads, self._maps, strict=True)):
            scored = features[own.branch]
            if score_map.region is not None:
                scored = scored[:, None, score_map.region]
            grid = from_tensors(head[of_head(MEAN, k)], head[of_head(WHITENING, k)]).score(scored)
            if own.standardise:
                scale = LogScale(*(head[of_head(name, k)].astype(np.float64) for name in (LOG_MEAN, LOG_DEVIATION)))
                grid = scale.apply(grid)
            found.append(grid)
        return found

    def scores(self, head: Head, features: Sequence[Features]) -> Floats:
        """Return the image scores ``[n]`` of any images; for the arguments see :meth:`grids`."""
        grids = self.grids(head, features)
        scores = [score_map.scores(grid) for score_map, grid in zip(self._maps, grids, strict=True)]
        if len(scores) == 1:
            return scores[0]
        fused: Floats = head[SCORE_WEIGHTS].astype(np.float64) @ np.stack(scores)
        return fused

    def maps(self, head: Head, features: Sequence[Features]) -> NDArray[np.float32]:
        """Return the maps, float32 ``[n, height, width]``, of a few images; for the arguments see :meth:`grids`."""
        weights = head[MAP_WEIGHTS] if len(self._maps) > 1 else np.ones(1, dtype=np.float32)
        return np.concatenate(list(self._fused_maps(self.grids(head, features), weights)))

    def _fit_one(
        self,
        own: HeadRecipe,
        score_map: ScoreMap,
        features: Features,
        parts: NDArray[np.int64],
        progress: ProgressReport,
    ) -> tuple[Floats, Head]:
        """Return the held-out scores of every position, and the tensors of the head that is fitted to all images; two
        steps of progress.
        """
        # Folds must not change the number of positions to pool.
        side = pooled_side(own.neighbourhood, len(features), features.shape[3])
        settings = replace(own.settings, neighbourhood=side)
        if own.closed_form:
            grid = leave_one_out(features, settings, parts=parts, region=score_map.region)
        else:
            grid = self._by_folds(own, score_map, features, parts, side)
        progress.advance()
        tensors = fit_gaussian(features, settings, score_map.region).tensors()
        progress.advance()
        if own.standardise:
            scale = log_scale(grid, score_map.region)
            grid = standardise_held_out(grid, parts, grid, parts, score_map.region)
            tensors = tensors | scale.tensors()
        return grid, tensors

    def _by_folds(
        self, own: HeadRecipe, score_map: ScoreMap, features: Features, parts: NDArray[np.int64], side: int
    ) -> Floats:
        """Score the images of each fold of parts by a Gaussian of the other folds."""
        settings = replace(own.settings, neighbourhood=side)
        count = int(parts.max()) + 1
        fold_of = np.random.default_rng(0).permutation(count) % min(self._recipe.folds, count)
        region = score_map.region
        inside = features if region is None else features[:, None, region]
        grid = np.empty(inside.shape[:3])
        for fold in range(int(fold_of.max()) + 1):
            left_out = fold_of[parts] == fold
            fitted: Gaussian = fit_gaussian(features[~left_out], settings, region)
            grid[left_out] = fitted.score(inside[left_out])
        return grid

    def _fuse(
        self,
        heads: Sequence[Head],
        grids: Sequence[Floats],
        scores: Floats,
        false_alarm_rate: float,
        parts: NDArray[np.int64],
    ) -> FittedHeads:
        score_weights = weights_by_spread(self._recipe.score_weights, scores)
        held_out = one_score_a_part(score_weights @ scores, parts)
        calibration = calibrate(held_out, false_alarm_rate)
        map_weights = weights_by_spread(self._recipe.map_weights, scores)
        peaks = np.concatenate(
            [maps.max((1, 2)) for maps in self._fused_maps(grids, map_weights.astype(np.float32))]
        ).astype(np.float64)
        map_weights = map_weights * map_factor(one_score_a_part(peaks, parts), calibration.threshold, false_alarm_rate)
        tensors = {of_head(name, k): tensor for k, head in enumerate(heads) for name, tensor in head.items()}
        weights = {SCORE_WEIGHTS: score_weights.astype(np.float32), MAP_WEIGHTS: map_weights.astype(np.float32)}
        return FittedHeads(tensors | weights, held_out, calibration)

    def _fused_maps(self, grids: Sequence[Floats], weights: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Yield the fused maps of all images, some at a time: ``[k, height, width]``; one head is not weighted."""
        for at in range(0, len(grids[0]), _CHUNK):
            maps = [of.maps(grid[at : at + _CHUNK]) for of, grid in zip(self._maps, grids, strict=True)]
            if len(maps) == 1:
                yield maps[0]
            else:
                yield np.sum([weight * of for weight, of in zip(weights, maps, strict=True)], axis=0, dtype=np.float32)

"""A benchmark that needs no real defect: held-out normal images against synthetic defects on them.

Every image is scored by heads fitted without it; a defect, by heads fitted without the normal image it was made on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_occ.common.progress import ProgressReport
from trainer.config import HeadConfig, Scope
from trainer.evaluation.metrics import image_auroc, pixel_auroc
from trainer.graph.score_map import ScoreMap
from trainer.heads.build import fit_head
from trainer.selection.synthetic_defects import GENERATORS, MIN_PIXELS

BATCH = 16
"""Images processed at a time."""

_EVERY = 4
"""Every how many rows and columns a pixel of a map is compared: half the usual stride of a grid, for speed."""

_MAX_NORMAL_MAPS = 64
"""Maximum number of normal images whose maps are compared, for speed."""


@dataclass(frozen=True)
class Defects:
    """Synthetic defects on normal images.

    Attributes:
        images: uint8 RGB ``[m, 3, height, width]``.
        masks: visibly changed pixels, bool ``[m, height, width]``.
        source: which normal image each was made from, ``[m]``.
        kind: index of the generator, ``[m]``.
    """

    images: Tensor
    masks: Tensor
    source: Tensor
    kind: Tensor


def make_defects(images: Tensor, count: int, seed: int) -> Defects:
    """Make synthetic defects with every generator, and leave out those that are not visible.

    Args:
        images: normal images, uint8 RGB ``[n, 3, height, width]``.
        count: defects of each generator; at most one an image.
        seed: of all randomness.
    """
    generator = Generator(images.device).manual_seed(seed)
    made, masks, sources, kinds = [], [], [], []
    with ProgressReport("making synthetic defects", len(GENERATORS)) as progress:
        for kind, make in enumerate(GENERATORS.values()):
            source = torch.randperm(len(images), generator=generator, device=images.device)[:count]
            for chunk in torch.split(source, BATCH):
                others = images[(chunk + 1) % len(images)].float() / 255
                defective, mask = make(images[chunk].float() / 255, others, generator)
                visible = mask.sum((1, 2, 3)) >= MIN_PIXELS
                made.append((defective[visible] * 255).round().clamp(0, 255).byte())
                masks.append(mask[visible, 0])
                sources.append(chunk[visible])
                kinds.append(torch.full_like(chunk[visible], kind))
            progress.advance()
    return Defects(torch.cat(made), torch.cat(masks), torch.cat(sources), torch.cat(kinds))


@dataclass(frozen=True)
class BenchmarkScores:
    """Scores of one head, in units of their standard deviation on normal images; the n normal images come first.

    Attributes:
        scores: image scores ``[n + m]``.
        maps: every fourth row and column of the score maps, ``[n + m, height, width]``.
    """

    scores: Tensor
    maps: Tensor


class ProxyBenchmark:
    """Compares heads on the same defects and the same folds.

    Args:
        defects: on the normal images.
        fold_of: the fold of each normal image, ``[n]``.
    """

    def __init__(self, defects: Defects, fold_of: Tensor) -> None:
        self._fold_of, self._kind = fold_of, defects.kind.numpy()
        self._fold_of_defect = fold_of[defects.source]
        self._normal = len(fold_of)
        self._compared = np.linspace(0, self._normal - 1, min(self._normal, _MAX_NORMAL_MAPS)).round().astype(int)
        thinned = defects.masks[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY]
        self._masks = thinned.numpy()

    def grids(self, normal: Tensor, changed: Tensor, settings: HeadConfig, scope: Scope) -> Tensor:
        """Return scores of the normal images and the defects, each by a head fitted without the image.

        Args:
            normal: features of the normal images, ``[n, rows, columns, d]``.
            changed: features of the defects, ``[m, rows, columns, d]``.
            settings: of the head.
            scope: of the head.

        Returns:
            ``[n + m, rows, columns]``.
        """
        found = [torch.empty(part.shape[:3]) for part in (normal, changed)]
        for fold in range(int(self._fold_of.max()) + 1):
            head = fit_head(normal[self._fold_of != fold], settings, scope)
            for grids, part, folds in zip(found, (normal, changed), (self._fold_of, self._fold_of_defect), strict=True):
                grids[folds == fold] = head.score_many(part[folds == fold])
        return torch.cat(found)

    def scores(self, score_map: ScoreMap, grids: Tensor) -> BenchmarkScores:
        """Return the image scores and maps that a head's grids give with a smoothing."""
        scores, maps = [], []
        for chunk in torch.split(grids, BATCH):
            score, smoothed = score_map(chunk.to(score_map.down.device))
            scores.append(score.cpu())
            maps.append(smoothed[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY].cpu())
        joined = torch.cat(scores)
        spread = joined[: self._normal].std().clamp_min(1e-12)
        return BenchmarkScores(joined / spread, torch.cat(maps) / spread)

    def objective(self, heads: Sequence[BenchmarkScores]) -> float:
        """Return the objective of a branch: its highest image AUROC plus its highest pixel AUROC, over its heads."""
        return max(self.image_auroc(own.scores) for own in heads) + max(self.pixel_auroc(own.maps) for own in heads)

    def image_auroc(self, scores: Tensor) -> float:
        """Return the AUROC of defects against normal images, the mean over the generators."""
        values = scores.numpy()
        normal, defective = values[: self._normal], values[self._normal :]
        return _mean(
            image_auroc(np.repeat([False, True], [len(normal), int(of.sum())]), np.append(normal, defective[of]))
            for of in self._kinds()
        )

    def pixel_auroc(self, maps: Tensor) -> float:
        """Return the AUROC of changed pixels against all others, the mean over the generators."""
        values = maps.numpy()
        normal, defective = values[: self._normal][self._compared], values[self._normal :]
        untouched = np.zeros(normal.shape, dtype=np.bool_)
        return _mean(pixel_auroc([*untouched, *self._masks[of]], [*normal, *defective[of]]) for of in self._kinds())

    def _kinds(self) -> Iterator[NDArray[np.bool_]]:
        return (self._kind == kind for kind in np.unique(self._kind))


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))

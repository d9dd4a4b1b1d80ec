"""Synthetic defects on held-out normal images, and what heads make of them.

Every image is scored by heads that had not seen it, nor the normal image that a defect was made on.
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
from trainer.selection.synthetic_defects import GENERATORS, LEAST_PIXELS

BATCH = 16
"""Images at a time."""

_EVERY = 4
"""Pixels between those of a map that count: half the usual stride of a grid, and quick."""

_SHOWN = 64
"""Normal images whose maps count; all of them would only make the pixel figures slow."""


@dataclass(frozen=True)
class Defects:
    """Synthetic defects on normal images.

    Attributes:
        images: uint8 RGB ``[m, 3, size, size]``.
        masks: visibly changed pixels, bool ``[m, size, size]``.
        source: which normal image each was made from, ``[m]``.
        kind: index of the generator, ``[m]``.
    """

    images: Tensor
    masks: Tensor
    source: Tensor
    kind: Tensor


def make_defects(images: Tensor, count: int, seed: int) -> Defects:
    """Synthetic defects from every generator, ``count`` of each or as many as there are images; less those that cannot
    be seen.

    Args:
        images: normal images, uint8 RGB ``[n, 3, size, size]``.
        count: images a generator.
        seed: of everything random.
    """
    generator = Generator(images.device).manual_seed(seed)
    made, masks, sources, kinds = [], [], [], []
    with ProgressReport("making synthetic defects", len(GENERATORS)) as progress:
        for kind, make in enumerate(GENERATORS.values()):
            source = torch.randperm(len(images), generator=generator, device=images.device)[:count]
            for chunk in torch.split(source, BATCH):
                others = images[(chunk + 1) % len(images)].float() / 255
                defective, mask = make(images[chunk].float() / 255, others, generator)
                seen = mask.sum((1, 2, 3)) >= LEAST_PIXELS
                made.append((defective[seen] * 255).round().clamp(0, 255).byte())
                masks.append(mask[seen, 0])
                sources.append(chunk[seen])
                kinds.append(torch.full_like(chunk[seen], kind))
            progress.advance()
    return Defects(torch.cat(made), torch.cat(masks), torch.cat(sources), torch.cat(kinds))


@dataclass(frozen=True)
class Evidence:
    """What one head says of the normal images and then of the defects, in units of its spread on normal ones: scores
    ``[n + m]`` and thinned maps ``[n + m, height, width]``.
    """

    scores: Tensor
    maps: Tensor


class ProxyBenchmark:
    """Judges by the same defects and the same folds throughout."""

    def __init__(self, defects: Defects, fold_of: Tensor) -> None:
        self._fold_of, self._kind = fold_of, defects.kind.numpy()
        self._fold_of_defect = fold_of[defects.source]
        self._normal = len(fold_of)
        self._shown = np.linspace(0, self._normal - 1, min(self._normal, _SHOWN)).round().astype(int)
        thinned = defects.masks[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY]
        self._masks = thinned.numpy()

    def grids(self, normal: Tensor, changed: Tensor, settings: HeadConfig, scope: Scope) -> Tensor:
        """Scores ``[n + m, rows, columns]`` of normal images and defects by heads that had not seen the image."""
        found = [torch.empty(part.shape[:3]) for part in (normal, changed)]
        for fold in range(int(self._fold_of.max()) + 1):
            head = fit_head(normal[self._fold_of != fold], settings, scope)
            for grids, part, folds in zip(found, (normal, changed), (self._fold_of, self._fold_of_defect), strict=True):
                grids[folds == fold] = head.score_many(part[folds == fold])
        return torch.cat(found)

    def evidence(self, score_map: ScoreMap, grids: Tensor) -> Evidence:
        """What comes of a head's grids with this smoothing."""
        scores, maps = [], []
        for chunk in torch.split(grids, BATCH):
            score, smoothed = score_map(chunk.to(score_map.spread.device))
            scores.append(score.cpu())
            maps.append(smoothed[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY].cpu())
        joined = torch.cat(scores)
        spread = joined[: self._normal].std().clamp_min(1e-12)
        return Evidence(joined / spread, torch.cat(maps) / spread)

    def objective(self, evidence: Sequence[Evidence]) -> float:
        """Of a branch: its best head's image figure and its best head's pixel figure."""
        return max(self.image_auroc(e.scores) for e in evidence) + max(self.pixel_auroc(e.maps) for e in evidence)

    def image_auroc(self, scores: Tensor) -> float:
        """Defects against normal images, the mean over the generators."""
        values = scores.numpy()
        normal, defective = values[: self._normal], values[self._normal :]
        return _mean(
            image_auroc(np.repeat([False, True], [len(normal), int(of.sum())]), np.append(normal, defective[of]))
            for of in self._kinds()
        )

    def pixel_auroc(self, maps: Tensor) -> float:
        """Changed pixels against all others, the mean over the generators."""
        values = maps.numpy()
        normal, defective = values[: self._normal][self._shown], values[self._normal :]
        untouched = np.zeros(normal.shape, dtype=np.bool_)
        return _mean(pixel_auroc([*untouched, *self._masks[of]], [*normal, *defective[of]]) for of in self._kinds())

    def _kinds(self) -> Iterator[NDArray[np.bool_]]:
        return (self._kind == kind for kind in np.unique(self._kind))


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))

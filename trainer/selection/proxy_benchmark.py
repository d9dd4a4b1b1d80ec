"""A benchmark that needs no real defect: held-out normal images against synthetic defects on them.

Every image is scored by heads fitted without its part; a defect, by heads fitted without the part it was made on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_occ.bundle.fusion import one_score_a_part
from edge_occ.bundle.sample_grid import Region
from edge_occ.common.progress import ProgressReport
from trainer.calibration.held_out import Shots, held_out_scores, standardised
from trainer.config import HeadConfig
from trainer.evaluation.metrics import image_auroc, pixel_auroc
from trainer.graph.score_map import ScoreMapLayer
from trainer.selection.power import found, indistinguishable, mean_over_kinds, share_of_rates
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


class ProxyBenchmark:
    """Compares heads on the same defects and the same normal images.

    Args:
        defects: on the normal images.
        shots: the parts of the normal images.
        rate: declared false-alarm rate.
    """

    def __init__(self, defects: Defects, shots: Shots, rate: float) -> None:
        self._shots, self._rate = shots, rate
        self._kind = defects.kind.numpy()
        self.normal = len(shots.parts)
        self._left_out = torch.cat((shots.parts, shots.parts[defects.source]))
        self._compared = np.linspace(0, self.normal - 1, min(self.normal, _MAX_NORMAL_MAPS)).round().astype(int)
        self._masks = defects.masks[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY].numpy()

    def grids(self, normal: Tensor, changed: Tensor, config: HeadConfig, region: Region | None) -> Tensor:
        """Return scores of the normal images and then of the defects, each by a head fitted without the part.

        Args:
            normal: features of the normal images, ``[n, rows, columns, d]``.
            changed: features of the defects, ``[m, rows, columns, d]``.
            config: of a head with one scope.
            region: the positions to score; None: all.

        Returns:
            ``[n + m, rows, columns]``, or ``[n + m, 1, p]``; not standardised.
        """
        both = torch.cat((normal, changed))
        return held_out_scores(normal, config, self._shots, region, scored=both, left_out=self._left_out)

    def standardised(self, grids: Tensor, region: Region | None) -> Tensor:
        """Return the result of :meth:`grids` standardised, each score without the part's own images."""
        return standardised(grids[: self.normal], self._shots, region, grids, self._left_out)[0]

    def image_scores(
        self, score_map: ScoreMapLayer, grids: Tensor, shares: Sequence[float]
    ) -> list[NDArray[np.float64]]:
        """Return image scores ``[n + m]`` for each share of the map's highest values; 0 is the maximum.

        They are read from every second row and column of the map.
        """
        read = len(score_map.down[::2]) * len(score_map.across[::2])
        if score_map.gain is not None:  # outside a region maps are 0, so that the highest values lie inside
            read = int((score_map.gain[::2, ::2] > 0).sum())
        counts = [max(1, round(share * read)) for share in shares]
        collected = []
        for chunk in torch.split(grids, BATCH):
            maps = score_map.maps(chunk.to(score_map.down.device))[:, ::2, ::2].flatten(1)
            highest = maps.topk(max(counts), 1).values
            collected.append(torch.stack([highest[:, :count].mean(1) for count in counts]).cpu())
        return list(torch.cat(collected, 1).double().numpy())

    def found(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share of the rates at which each defect is found, ``[m]``, from image scores ``[n + m]``."""
        return share_of_rates(*self._split(scores), self._rate)

    def objective(self, scores: NDArray[np.float64]) -> float:
        """Return the mean of :meth:`found`, in which every generator counts the same."""
        return mean_over_kinds(self.found(scores), self._kind)

    def indistinguishable(self, best: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
        """Return whether the objective of other scores ``[n + m]`` is within one standard error of the best."""
        return indistinguishable(self.found(best), self.found(other), self._kind)

    def power(self, scores: NDArray[np.float64]) -> float:
        """Return the share of defects found at the declared rate, the mean over the generators."""
        return mean_over_kinds(found(*self._split(scores), self._rate).astype(np.float64), self._kind)

    def image_auroc(self, scores: NDArray[np.float64]) -> float:
        """Return the AUROC of defects against normal images, the mean over the generators."""
        normal, defective = scores[: self.normal], scores[self.normal :]
        return _mean(
            image_auroc(np.repeat([False, True], [len(normal), int(of.sum())]), np.append(normal, defective[of]))
            for of in self._kinds()
        )

    def pixel_auroc(self, score_map: ScoreMapLayer, grids: Tensor) -> float:
        """Return the AUROC of changed pixels against all others, the mean over the generators."""
        maps = torch.cat(
            [
                score_map.maps(chunk.to(score_map.down.device))[:, _EVERY // 2 :: _EVERY, _EVERY // 2 :: _EVERY].cpu()
                for chunk in torch.split(grids, BATCH)
            ]
        ).numpy()
        normal, defective = maps[: self.normal][self._compared], maps[self.normal :]
        untouched = np.zeros(normal.shape, dtype=np.bool_)
        return _mean(pixel_auroc([*untouched, *self._masks[of]], [*normal, *defective[of]]) for of in self._kinds())

    def _split(self, scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """One score for each normal part, and the scores of the defects."""
        return one_score_a_part(scores[: self.normal], self._shots.parts.numpy()), scores[self.normal :]

    def _kinds(self) -> Iterator[NDArray[np.bool_]]:
        return (self._kind == kind for kind in np.unique(self._kind))


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))

"""Candidate heads of one branch: every scope, region, smoothing, standardising and image score that may be selected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.provenance import CandidateHead
from trainer.calibration.fit_heads import fitting
from trainer.config import HeadConfig, MapConfig, Scope, TrainConfig
from trainer.graph.branches import PatchBranch
from trainer.selection.proxy_benchmark import BATCH, Defects, ProxyBenchmark

_MAP_SCOPES: tuple[Scope, ...] = ("position-mean", "shared")
"""Scopes with one covariance.  One for each position is estimated from few samples and overrates small changes where
features hardly vary."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A head with a map; equal to itself alone.

    Attributes:
        branch: index of its branch.
        head: its own settings, with one scope.
        map: smoothing and image score.
        scores: image scores of the normal images and the defects, ``[n + m]``.
        pixel_auroc: of its map; ``None`` if it cannot make the map.
    """

    branch: int
    head: HeadConfig
    map: MapConfig
    scores: NDArray[np.float64]
    pixel_auroc: float | None

    def same_map(self, other: Candidate) -> bool:
        """Return whether only the image scores differ."""
        return (self.branch, self.head, self.map.sigma) == (other.branch, other.head, other.map.sigma)

    def record(
        self, config: TrainConfig, benchmark: ProxyBenchmark, score_weight: float, makes_map: bool
    ) -> CandidateHead:
        """Return what the manifest keeps of it."""
        return CandidateHead(
            encoder=config.branches[self.branch].encoder.name,
            scope=self.head.scope[0],
            in_region=self.head.in_region[0],
            standardised=self.head.standardise[0],
            sigma=self.map.sigma,
            image_score=self.map.image_score,
            top_fraction=self.map.top_fraction if self.map.image_score == "top" else None,
            power=benchmark.power(self.scores),
            objective=benchmark.objective(self.scores),
            image_auroc=benchmark.image_auroc(self.scores),
            pixel_auroc=self.pixel_auroc,
            score_weight=score_weight,
            map_weight=float(makes_map),
        )


def candidates_of(
    branch: PatchBranch,
    normal: Tensor,
    defects: Defects,
    benchmark: ProxyBenchmark,
    config: TrainConfig,
    index: int,
    mask: NDArray[np.bool_] | None,
) -> list[Candidate]:
    """Return all heads to try on a branch, with every smoothing and image score.

    Args:
        branch: the branch.
        normal: its features of the normal images, ``[n, rows, columns, d]``.
        defects: on the same images.
        benchmark: scores and compares.
        config: says what to try.
        index: of the branch in the settings.
        mask: pixels of the region, bool ``[height, width]``; ``None``: there is none to try.

    Raises:
        InputError: no head can be fitted on the features.
    """
    settings, selection = config.branches[index], config.selection
    changed = _features(branch, defects.images)
    candidates = []
    for scope in selection.scopes:
        for in_region in _regions(config, mask):
            own_mask = mask if in_region else None
            maps = {
                sigma: branch.score_map(settings.map.model_copy(update={"sigma": sigma}), own_mask)
                for sigma in selection.sigmas
            }
            region = next(iter(maps.values())).region
            head = settings.head.model_copy(update={"scope": (scope,), "in_region": (in_region,)})
            with fitting():
                raw = benchmark.grids(normal, changed, head, region)
            for standardise in selection.standardise:
                own = head.model_copy(update={"standardise": (standardise,)})
                grids = benchmark.standardised(raw, region) if standardise else raw
                for sigma, score_map in maps.items():
                    makes_map = scope in _MAP_SCOPES and not standardise and (not in_region or bool(config.region.file))
                    pixel_auroc = benchmark.pixel_auroc(score_map, grids) if makes_map else None
                    scores = benchmark.image_scores(score_map, grids, selection.shares)
                    for share, of_share in zip(selection.shares, scores, strict=True):
                        update = {"sigma": sigma, "image_score": "top" if share else "max"}
                        own_map = settings.map.model_copy(update=update | ({"top_fraction": share} if share else {}))
                        candidates.append(Candidate(index, own, own_map, of_share, pixel_auroc))
    return candidates


def _regions(config: TrainConfig, mask: NDArray[np.bool_] | None) -> tuple[bool, ...]:
    """Return whether heads are tried with the region: a region that the user drew is not up for selection."""
    if mask is None:
        return (False,)
    return (True,) if config.region.file else (True, False)


def _features(branch: PatchBranch, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat(
            [branch.features(chunk.to(branch.device).float()).cpu() for chunk in torch.split(images, BATCH)]
        )

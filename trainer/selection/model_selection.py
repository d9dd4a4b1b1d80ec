"""Model selection: heads, region, smoothing and fusion selected by power, without a real defect.

Every head that is possible on the features at hand scores held-out normal images with their changed copies, as the
calibration does, and the same images with synthetic defects from generators that no training uses
(:mod:`trainer.selection.proxy_benchmark`).  The image score is the one
that finds most of them at the declared false-alarm rate (:mod:`trainer.selection.power`); the map is that of the head
with the highest pixel AUROC among those that share one covariance, which costs a frame next to nothing.  Test images
never take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.provenance import CandidateHead, ModelSelection
from edge_occ.common.progress import ProgressReport
from trainer.calibration.fit_heads import fitting
from trainer.calibration.held_out import Shots
from trainer.config import BranchConfig, FusionConfig, HeadConfig, MapConfig, Scope, TrainConfig
from trainer.graph.alignment import alignment
from trainer.graph.branches import PatchBranch
from trainer.selection.ensemble import select_ensemble
from trainer.selection.proxy_benchmark import BATCH, Defects, ProxyBenchmark

_MAP_SCOPES: tuple[Scope, ...] = ("position-mean", "shared")
"""Scopes with one covariance.  One for each position is estimated from few samples and overrates small changes where
features hardly vary."""


@dataclass(frozen=True)
class Selection:
    """The selected model.

    Attributes:
        config: the settings with the selected heads, region, smoothing and weights.
        kept: indices of the branches that are still used, in the settings before.
        record: all candidates, selected or not, for the manifest.
    """

    config: TrainConfig
    kept: tuple[int, ...]
    record: ModelSelection


def select_model(
    branches: Sequence[PatchBranch],
    features: Sequence[Tensor],
    defects: Defects,
    config: TrainConfig,
    seed: int,
    parts: Sequence[int] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> Selection:
    """Select the heads, region, smoothing and weights that find most synthetic defects.

    Args:
        branches: all branches; those that are kept get the selected maps in place.
        features: of the ``n`` normal images, then of their changed copies: ``[m, rows, columns, d]`` for each branch.
        defects: on the images as they are, in the same order.
        config: the settings; scopes, maps and fusion are replaced.
        seed: of the assignment of parts to folds, the same as in calibration.
        parts: which part each image shows, ``[n]``, from 0 without gaps; ``None``: each shows another, without copies.
        mask: pixels of the region, bool ``[height, width]``; ``None``: there is none to try.

    Raises:
        InputError: no head can be fitted on the features.
    """
    shown = torch.arange(len(features[0])) if parts is None else torch.tensor(parts)
    shots = Shots.of(shown.repeat(len(features[0]) // len(shown)), config.calibration.folds, seed)
    benchmark = ProxyBenchmark(defects, shots, config.calibration.false_alarm_rate, len(shown))
    share = alignment(features[0][: len(shown)])
    candidates: list[_Candidate] = []
    with ProgressReport("selecting", len(branches)) as progress:
        for index, (branch, normal) in enumerate(zip(branches, features, strict=True)):
            candidates += _candidates(branch, normal, defects, benchmark, config, index, mask)
            progress.advance()
    best = [_best(benchmark, [own for own in candidates if own.branch == i]) for i in range(len(branches))]
    weights = select_ensemble(len(best), lambda trial: benchmark.objective(_fused(best, trial, benchmark.normal)))
    scoring = {own: weight for own, weight in zip(best, weights, strict=True) if weight}
    map_head = _map_head(candidates, list(scoring))
    # The sort is stable, so that a branch's scoring head comes first.
    taken = sorted(dict.fromkeys((*scoring, map_head)), key=lambda own: own.branch)
    fusion = FusionConfig(
        score_weights=tuple(scoring.get(own, 0.0) for own in taken),
        map_weights=tuple(float(own is map_head) for own in taken),
    )
    kept = tuple(sorted({own.branch for own in taken}))
    selected = _with_heads(config, kept, taken, fusion)
    for index, settings in zip(kept, selected.branches, strict=True):
        branches[index].set_heads(settings, mask)
    fused = _fused(best, weights, benchmark.normal)
    record = ModelSelection(
        alignment=share,
        aligned=share >= config.selection.aligned,
        candidates=tuple(own.record(config, benchmark, scoring.get(own, 0.0), own is map_head) for own in candidates),
        image_auroc=benchmark.image_auroc(fused),
        pixel_auroc=map_head.pixel_auroc or 0.0,
        power=benchmark.power(fused),
        defects=len(defects.images),
    )
    return Selection(selected, kept, record)


@dataclass(frozen=True, eq=False)
class _Candidate:
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

    def same_map(self, other: _Candidate) -> bool:
        """Return whether only the image scores differ."""
        return (self.branch, self.head, self.map.sigma) == (other.branch, other.head, other.map.sigma)

    def record(
        self, config: TrainConfig, benchmark: ProxyBenchmark, score_weight: float, makes_map: bool
    ) -> CandidateHead:
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


def _candidates(
    branch: PatchBranch,
    normal: Tensor,
    defects: Defects,
    benchmark: ProxyBenchmark,
    config: TrainConfig,
    index: int,
    mask: NDArray[np.bool_] | None,
) -> list[_Candidate]:
    """Return all heads to try on a branch, with every smoothing and image score."""
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
                        candidates.append(_Candidate(index, own, own_map, of_share, pixel_auroc))
    return candidates


def _regions(config: TrainConfig, mask: NDArray[np.bool_] | None) -> tuple[bool, ...]:
    """Return whether heads are tried with the region: a region that the user drew is not up for selection."""
    if mask is None:
        return (False,)
    return (True,) if config.region.file else (True, False)


def _best(benchmark: ProxyBenchmark, candidates: Sequence[_Candidate]) -> _Candidate:
    """Return the candidate with the highest objective; of its image scores within one standard error of that, the one
    that averages the largest share of the map, as it varies least.
    """
    best = max(candidates, key=lambda own: benchmark.objective(own.scores))
    close = [own for own in candidates if own.same_map(best) and benchmark.indistinguishable(best.scores, own.scores)]
    return max(close, key=lambda own: own.map.top_fraction if own.map.image_score == "top" else 0)


def _map_head(candidates: Sequence[_Candidate], scoring: Sequence[_Candidate]) -> _Candidate:
    """Return the candidate with the highest pixel AUROC among those that can make the map, and that have the smoothing
    of their branch's scoring head, as a branch has one; a scoring head itself where it has that map.
    """
    sigma_of = {own.branch: own.map.sigma for own in scoring}
    able = [own for own in candidates if sigma_of.get(own.branch, own.map.sigma) == own.map.sigma]
    best = max((own for own in able if own.pixel_auroc is not None), key=lambda own: own.pixel_auroc or 0.0)
    return next((own for own in scoring if own.same_map(best)), best)


def _fused(heads: Sequence[_Candidate], weights: Sequence[float], normal: int) -> NDArray[np.float64]:
    """Return the weighted sum of image scores, each in units of its spread on the normal images, ``[n + m]``."""
    total = np.zeros(len(heads[0].scores))
    for own, weight in zip(heads, weights, strict=True):
        total += weight * own.scores / max(own.scores[:normal].std(), 1e-12)
    return total


def _features(branch: PatchBranch, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return torch.cat(
            [branch.features(chunk.to(branch.device).float()).cpu() for chunk in torch.split(images, BATCH)]
        )


def _with_heads(
    config: TrainConfig, kept: Sequence[int], heads: Sequence[_Candidate], fusion: FusionConfig
) -> TrainConfig:
    """Return the settings with only the branches, maps, scopes and weights of the selected heads.

    The heads of a branch share one smoothing and image score, those of its first head, which scores where one does.
    """
    branches = []
    for index in kept:
        own = [head for head in heads if head.branch == index]
        settings = config.branches[index]
        update = {
            name: tuple(getattr(head.head, name)[0] for head in own) for name in ("scope", "standardise", "in_region")
        }
        branches.append(
            settings.model_copy(update={"head": settings.head.model_copy(update=update), "map": own[0].map})
        )
    first, *further = branches
    return config.model_copy(
        update={
            **{name: getattr(first, name) for name in BranchConfig.model_fields},
            "further_branches": tuple(further),
            "fusion": fusion,
            "selection": config.selection.model_copy(update={"enabled": False}),
        }
    )

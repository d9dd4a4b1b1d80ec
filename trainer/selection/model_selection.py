"""Model selection: heads, smoothing and fusion selected without a real defect.

Every head that is possible on the features at hand scores held-out normal images, and the same images with synthetic
defects from generators that no training uses (:mod:`trainer.selection.proxy_benchmark`).  The weights of the heads come
from ensemble selection (:mod:`trainer.selection.ensemble`), or from rules where the benchmark misleads
(:mod:`trainer.selection.rules`).  Test images never take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from edge_occ.bundle.manifest import CandidateHead, ModelSelection
from edge_occ.common.progress import ProgressReport
from trainer.calibration.fit_heads import fitting
from trainer.calibration.held_out import folds_of_parts
from trainer.config import BranchConfig, FusionConfig, MapConfig, Scope, TrainConfig
from trainer.graph.alignment import alignment
from trainer.graph.branches import PatchBranch
from trainer.selection.ensemble import select_ensemble, weighted_mean
from trainer.selection.proxy_benchmark import BATCH, BenchmarkScores, Defects, ProxyBenchmark
from trainer.selection.rules import maps_to_try, one_head_for_the_map, one_head_per_branch, scopes_to_try


@dataclass(frozen=True)
class Selection:
    """The selected model.

    Attributes:
        config: the settings with the selected heads, smoothing and weights.
        kept: indices of the branches that are still used, in the settings before.
        grids: for each selected head, scores of the normal images by heads fitted without them,
            ``[n, rows, columns]``; calibration reuses them.
        record: all candidates, selected or not, for the manifest.
    """

    config: TrainConfig
    kept: tuple[int, ...]
    grids: tuple[Tensor, ...]
    record: ModelSelection


def select_model(
    branches: Sequence[PatchBranch],
    features: Sequence[Tensor],
    defects: Defects,
    config: TrainConfig,
    seed: int,
    parts: Sequence[int] | None = None,
) -> Selection:
    """Select the heads, smoothing and weights that separate synthetic defects from normal images best.

    Args:
        branches: all branches; each gets the selected smoothing in place.
        features: of the normal images, ``[n, rows, columns, d]`` for each branch.
        defects: on the same images, in the same order.
        config: the settings; scopes, maps and fusion are replaced.
        seed: of the assignment of parts to folds, the same as in calibration.
        parts: which part each image shows, ``[n]``, from 0 without gaps; ``None``: each shows another.

    Raises:
        InputError: no head can be fitted on the features.
    """
    shown = torch.arange(len(features[0])) if parts is None else torch.tensor(parts)
    benchmark = ProxyBenchmark(defects, folds_of_parts(shown, config.calibration.folds, seed))
    share = alignment(features[0])
    aligned = share >= config.selection.aligned
    heads: list[_Head] = []
    with ProgressReport("selecting", len(branches)) as progress:
        for index, (branch, normal) in enumerate(zip(branches, features, strict=True)):
            own = _heads_of(branch, normal, defects, benchmark, config, index, aligned)
            branch.score_map = branch.score_map_with(own[0].map)
            heads += own
            progress.advance()
    scores, maps = [head.results.scores for head in heads], [head.results.maps for head in heads]
    image_aurocs = [benchmark.image_auroc(score) for score in scores]
    pixel_aurocs = [benchmark.pixel_auroc(smoothed) for smoothed in maps]
    branch_of = [head.branch for head in heads]
    if aligned:
        score_weights = select_ensemble(
            len(heads), lambda weights: benchmark.image_auroc(weighted_mean(scores, weights))
        )
        map_weights = one_head_for_the_map(config.branches, branch_of, [head.scope for head in heads], pixel_aurocs)
    else:
        score_weights = one_head_per_branch(branch_of, image_aurocs)
        map_weights = select_ensemble(len(heads), lambda weights: benchmark.pixel_auroc(weighted_mean(maps, weights)))
    candidates = tuple(
        CandidateHead(
            encoder=config.branches[head.branch].encoder.name,
            scope=head.scope,
            sigma=head.map.sigma,
            image_score=head.map.image_score,
            image_auroc=image_aurocs[k],
            pixel_auroc=pixel_aurocs[k],
            score_weight=score_weights[k],
            map_weight=map_weights[k],
        )
        for k, head in enumerate(heads)
    )
    record = ModelSelection(
        alignment=share,
        aligned=aligned,
        candidates=candidates,
        image_auroc=benchmark.image_auroc(weighted_mean(scores, score_weights)),
        pixel_auroc=benchmark.pixel_auroc(weighted_mean(maps, map_weights)),
    )
    selected = [k for k in range(len(heads)) if score_weights[k] or map_weights[k]]
    fusion = FusionConfig(
        score_weights=tuple(score_weights[k] for k in selected), map_weights=tuple(map_weights[k] for k in selected)
    )
    taken = [heads[k] for k in selected]
    kept = tuple(sorted({head.branch for head in taken}))
    return Selection(_with_heads(config, kept, taken, fusion), kept, tuple(head.grid for head in taken), record)


@dataclass(frozen=True)
class _Head:
    """A candidate.

    Attributes:
        branch: index of its branch.
        scope: which positions share a Gaussian.
        map: smoothing and image score of its branch.
        results: what the benchmark compares.
        grid: scores of the normal images ``[n, rows, columns]``.
    """

    branch: int
    scope: Scope
    map: MapConfig
    results: BenchmarkScores
    grid: Tensor


def _heads_of(
    branch: PatchBranch,
    normal: Tensor,
    defects: Defects,
    benchmark: ProxyBenchmark,
    config: TrainConfig,
    index: int,
    aligned: bool,
) -> list[_Head]:
    """Return all heads to try on a branch, with the smoothing and image score that suit them best."""
    settings = config.branches[index]
    changed = _features(branch, defects.images)
    scopes = scopes_to_try(settings, config.selection, aligned)
    with fitting():
        grids = [benchmark.grids(normal, changed, settings.head, scope) for scope in scopes]
    trials = [
        (trial, [benchmark.scores(branch.score_map_with(trial), grid) for grid in grids])
        for trial in maps_to_try(settings, config.selection, aligned)
    ]
    best, results = max(trials, key=lambda trial: benchmark.objective(trial[1]))
    return [
        _Head(index, scope, best, own, grid[: len(normal)])
        for scope, own, grid in zip(scopes, results, grids, strict=True)
    ]


def _features(branch: PatchBranch, images: Tensor) -> Tensor:
    device = branch.score_map.down.device
    with torch.inference_mode():
        return torch.cat([branch.features(chunk.to(device).float()).cpu() for chunk in torch.split(images, BATCH)])


def _with_heads(config: TrainConfig, kept: Sequence[int], heads: Sequence[_Head], fusion: FusionConfig) -> TrainConfig:
    """Return the settings with only the branches, maps, scopes and weights of the selected heads."""
    branches = []
    for index in kept:
        own = [head for head in heads if head.branch == index]
        settings = config.branches[index]
        head = settings.head.model_copy(update={"scope": tuple(head.scope for head in own)})
        branches.append(settings.model_copy(update={"head": head, "map": own[0].map}))
    first, *further = branches
    return config.model_copy(
        update={
            **{name: getattr(first, name) for name in BranchConfig.model_fields},
            "further_branches": tuple(further),
            "fusion": fusion,
            "selection": config.selection.model_copy(update={"enabled": False}),
        }
    )

"""Model selection: heads, region, smoothing and fusion selected by power, without a real defect.

Every head that is possible on the features at hand scores held-out normal images, and the same images with synthetic
defects from generators that no training uses (:mod:`trainer.selection.proxy_benchmark`).  The image score is the one
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

from edge_occ.bundle.provenance import ModelSelection
from edge_occ.common.progress import ProgressReport
from trainer.calibration.held_out import Shots
from trainer.config import BranchConfig, FusionConfig, TrainConfig
from trainer.graph.alignment import alignment
from trainer.graph.branches import PatchBranch
from trainer.selection.candidates import Candidate, candidates_of
from trainer.selection.ensemble import select_ensemble
from trainer.selection.proxy_benchmark import Defects, ProxyBenchmark


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
        features: of the normal images, ``[n, rows, columns, d]`` for each branch.
        defects: on the same images, in the same order.
        config: the settings; scopes, maps and fusion are replaced.
        seed: of the assignment of parts to folds, the same as in calibration.
        parts: which part each image shows, ``[n]``, from 0 without gaps; ``None``: each shows another.
        mask: pixels of the region, bool ``[height, width]``; ``None``: there is none to try.

    Raises:
        InputError: no head can be fitted on the features.
    """
    shown = torch.arange(len(features[0])) if parts is None else torch.tensor(parts)
    shots = Shots.of(shown, config.calibration.folds, seed)
    benchmark = ProxyBenchmark(defects, shots, config.calibration.false_alarm_rate)
    share = alignment(features[0])
    candidates: list[Candidate] = []
    with ProgressReport("selecting", len(branches)) as progress:
        for index, (branch, normal) in enumerate(zip(branches, features, strict=True)):
            candidates += candidates_of(branch, normal, defects, benchmark, config, index, mask)
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


def _best(benchmark: ProxyBenchmark, candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the highest objective; of its image scores within one standard error of that, the one
    that averages the largest share of the map, as it varies least.
    """
    best = max(candidates, key=lambda own: benchmark.objective(own.scores))
    close = [own for own in candidates if own.same_map(best) and benchmark.indistinguishable(best.scores, own.scores)]
    return max(close, key=lambda own: own.map.top_fraction if own.map.image_score == "top" else 0)


def _map_head(candidates: Sequence[Candidate], scoring: Sequence[Candidate]) -> Candidate:
    """Return the candidate with the highest pixel AUROC among those that can make the map, and that have the smoothing
    of their branch's scoring head, as a branch has one; a scoring head itself where it has that map.
    """
    sigma_of = {own.branch: own.map.sigma for own in scoring}
    able = [own for own in candidates if sigma_of.get(own.branch, own.map.sigma) == own.map.sigma]
    best = max((own for own in able if own.pixel_auroc is not None), key=lambda own: own.pixel_auroc or 0.0)
    return next((own for own in scoring if own.same_map(best)), best)


def _fused(heads: Sequence[Candidate], weights: Sequence[float], normal: int) -> NDArray[np.float64]:
    """Return the weighted sum of image scores, each in units of its spread on the normal images, ``[n + m]``."""
    total = np.zeros(len(heads[0].scores))
    for own, weight in zip(heads, weights, strict=True):
        total += weight * own.scores / max(own.scores[:normal].std(), 1e-12)
    return total


def _with_heads(
    config: TrainConfig, kept: Sequence[int], heads: Sequence[Candidate], fusion: FusionConfig
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

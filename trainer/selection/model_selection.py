"""Choosing heads, smoothing and fusion without a single real defect.

Held-out normal images, and the same kind of images with synthetic defects from generators that no training uses
(:mod:`trainer.selection.synthetic_defects`), are scored by every head that could be had on the features at hand.  The
best are taken.  Weights come from ensemble selection with replacement (Caruana et al., 2004): again and again the head
is added that helps most, and its weight is how often it was.  Test images never take part.

Rules of ours stand where that criterion was seen to mislead (docs/results/defects.md). Parts in any pose: the defects
that matter are often the part's own texture in the wrong place, which no synthetic defect here resembles; every encoder
counts alike in the image score, and one that was trained here has one Gaussian for all positions and the mean of its
highest values (in the presets: of as many pixels as one window has), as the single highest is noisier. Aligned parts:
changed pixels are found almost perfectly by every head, so that the criterion says little of maps; the map is of one
head of the best encoder, with means by position and one covariance if it is frozen, else per position.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from torch import Tensor

from edge_occ.bundle.manifest import CandidateHead, ModelSelection
from edge_occ.common.progress import ProgressReport
from trainer.calibration.fit_heads import fitting
from trainer.calibration.held_out import folds_of_parts
from trainer.config import BranchConfig, ChoiceConfig, FusionConfig, MapConfig, Scope, TrainConfig
from trainer.graph.alignment import alignment
from trainer.graph.branches import PatchBranch
from trainer.heads.fused import weighted_sum
from trainer.selection.proxy_benchmark import BATCH, Defects, Evidence, ProxyBenchmark


@dataclass(frozen=True)
class Choice:
    """What was taken.

    Attributes:
        config: the settings with the choice made.
        kept: branches of the settings before that are still in it.
        grids: of each head that was taken, scores of the normal images by heads that had not seen them, ``[n, rows,
            columns]``; calibration needs the same ones.
        record: every candidate, taken or not, for the manifest.
    """

    config: TrainConfig
    kept: tuple[int, ...]
    grids: tuple[Tensor, ...]
    record: ModelSelection


def choose(
    branches: Sequence[PatchBranch],
    features: Sequence[Tensor],
    defects: Defects,
    config: TrainConfig,
    seed: int,
    parts: Sequence[int] | None = None,
) -> Choice:
    """Take the heads, the smoothing and the weights that tell synthetic defects from normal images best.

    Args:
        branches: all that there are; those that stay get the smoothing that was chosen.
        features: of the normal images, ``[n, rows, columns, d]`` for each branch.
        defects: on the same images, in the same order.
        config: what was asked for; scopes, maps and fusion are replaced.
        seed: of the assignment of parts to folds; heads and their calibration then see the same ones.
        parts: which part each image shows, ``[n]``, from 0 without gaps; none: each another.

    Raises:
        InputError: the features cannot carry a head.
    """
    shown = torch.arange(len(features[0])) if parts is None else torch.tensor(parts)
    benchmark = ProxyBenchmark(defects, folds_of_parts(shown, config.calibration.folds, seed))
    share = alignment(features[0])
    aligned = share >= config.choice.aligned
    heads: list[_Head] = []
    settings = []
    with ProgressReport("choosing", len(branches)) as progress:
        for index, (branch, asked, normal) in enumerate(zip(branches, config.branches, features, strict=True)):
            changed = _features(branch, defects.images)
            scopes = _scopes(asked, config.choice, aligned)
            with fitting():
                grids = [benchmark.grids(normal, changed, asked.head, scope) for scope in scopes]
            trials = [
                (chosen, [benchmark.evidence(branch.score_map_with(chosen), grid) for grid in grids])
                for chosen in _maps(asked, config.choice, aligned)
            ]
            chosen, evidence = max(trials, key=lambda trial: benchmark.objective(trial[1]))
            branch.score_map = branch.score_map_with(chosen)
            settings.append(asked.model_copy(update={"map": chosen}))
            heads += [
                _Head(index, scope, seen, grid[: len(normal)])
                for scope, seen, grid in zip(scopes, evidence, grids, strict=True)
            ]
            progress.advance()
    scores, maps = [head.evidence.scores for head in heads], [head.evidence.maps for head in heads]
    objectives = [benchmark.image_auroc(score) for score in scores]
    pixel_objectives = [benchmark.pixel_auroc(smoothed) for smoothed in maps]
    if aligned:
        score_weights = select_ensemble(len(heads), lambda weights: benchmark.image_auroc(_sum(scores, weights)))
        map_weights = _of_map(config.branches, heads, pixel_objectives)
    else:
        score_weights = _one_each(heads, objectives)
        map_weights = select_ensemble(len(heads), lambda weights: benchmark.pixel_auroc(_sum(maps, weights)))
    candidates = tuple(
        CandidateHead(
            encoder=config.branches[head.branch].encoder.name,
            scope=head.scope,
            **settings[head.branch].map.model_dump(include={"sigma", "image_score"}),
            image_auroc=objective,
            pixel_auroc=pixel_objective,
            score_weight=score_weight,
            map_weight=map_weight,
        )
        for head, objective, pixel_objective, score_weight, map_weight in zip(
            heads, objectives, pixel_objectives, score_weights, map_weights, strict=True
        )
    )
    record = ModelSelection(
        alignment=share,
        aligned=aligned,
        candidates=candidates,
        image_auroc=benchmark.image_auroc(_sum(scores, score_weights)),
        pixel_auroc=benchmark.pixel_auroc(_sum(maps, map_weights)),
    )
    taken = [(h, c) for h, c in zip(heads, candidates, strict=True) if c.score_weight or c.map_weight]
    kept = tuple(sorted({head.branch for head, _ in taken}))
    return Choice(_resolved(config, settings, kept, taken), kept, tuple(head.grid for head, _ in taken), record)


def select_ensemble(members: int, objective: Callable[[Sequence[float]], float], rounds: int = 8) -> tuple[float, ...]:
    """Weights by ensemble selection with replacement: each round adds the member that gives the highest objective.

    Args:
        members: how many there are.
        objective: of weights; a member is in the sum as often as it was added.
        rounds: most members, counted with repetition.

    Returns:
        The weights of the best round, with a sum of 1.
    """
    counts = [0.0] * members
    best, kept = -np.inf, counts
    for _ in range(rounds):
        trials = [[count + (k == i) for k, count in enumerate(counts)] for i in range(members)]
        objectives = [objective(trial) for trial in trials]
        counts = trials[int(np.argmax(objectives))]
        if max(objectives) > best + _LEAST_GAIN:
            best, kept = max(objectives), counts
    return tuple(count / sum(kept) for count in kept)


@dataclass(frozen=True)
class _Head:
    branch: int
    scope: Scope
    evidence: Evidence
    grid: Tensor


_LEAST_GAIN = 1e-4
"""Merit that a further member must add; noise was seen to add up to 8e-5."""


def _one_each(heads: Sequence[_Head], objectives: Sequence[float]) -> tuple[float, ...]:
    """Equal weights for the best head of every branch."""
    best = {
        max((k for k, head in enumerate(heads) if head.branch == branch), key=objectives.__getitem__)
        for branch in {head.branch for head in heads}
    }
    return tuple(float(k in best) / len(best) for k in range(len(heads)))


def _scopes(asked: BranchConfig, choice: ChoiceConfig, aligned: bool) -> tuple[Scope, ...]:
    """Heads to try on a branch."""
    if aligned:
        return tuple(dict.fromkeys((*choice.scopes, _map_scope(asked))))
    return choice.scopes if _frozen(asked) else ("shared",)


def _map_scope(branch: BranchConfig) -> Scope:
    """Which head of a branch makes the map of aligned parts.

    A covariance of each position's own has few samples to be made of, and makes much of small changes where hardly
    anything varies.  An encoder that learned to tell changed windows needs it nevertheless: what varies in its features
    differs from place to place.
    """
    return "position-mean" if _frozen(branch) else "per-position"


def _of_map(branches: Sequence[BranchConfig], heads: Sequence[_Head], objectives: Sequence[float]) -> tuple[float, ...]:
    """All weight for the head that makes the map of aligned parts, of the branch that has the best one."""
    best = heads[int(np.argmax(objectives))].branch
    scope = _map_scope(branches[best])
    return tuple(float(head.branch == best and head.scope == scope) for head in heads)


def _frozen(branch: BranchConfig) -> bool:
    return branch.pretext.name == "none"


def _features(branch: PatchBranch, images: Tensor) -> Tensor:
    device = branch.score_map.spread.device
    with torch.inference_mode():
        return torch.cat([branch.features(chunk.to(device).float()).cpu() for chunk in torch.split(images, BATCH)])


def _maps(asked: BranchConfig, choice: ChoiceConfig, aligned: bool) -> list[MapConfig]:
    """Smoothings and image scores to try on a branch."""
    image_scores = choice.image_scores if aligned or _frozen(asked) else ("top",)
    return [
        asked.map.model_copy(update={"sigma": sigma, "image_score": image_score})
        for sigma, image_score in product(choice.sigmas, image_scores)
    ]


def _sum(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    return weighted_sum(parts, torch.tensor(weights)) / sum(weights)


def _resolved(
    config: TrainConfig,
    settings: Sequence[BranchConfig],
    kept: Sequence[int],
    taken: Sequence[tuple[_Head, CandidateHead]],
) -> TrainConfig:
    """The settings with only the branches, scopes and weights that were taken."""
    branches = []
    for index in kept:
        scopes = tuple(head.scope for head, _ in taken if head.branch == index)
        head_config = settings[index].head.model_copy(update={"scope": scopes})
        branches.append(settings[index].model_copy(update={"head": head_config}))
    first, *beside = branches
    fusion = FusionConfig(
        score_weights=tuple(c.score_weight for _, c in taken), map_weights=tuple(c.map_weight for _, c in taken)
    )
    return config.model_copy(
        update={
            **{name: getattr(first, name) for name in BranchConfig.model_fields},
            "beside": tuple(beside),
            "fusion": fusion,
            "choice": config.choice.model_copy(update={"enabled": False}),
        }
    )

"""The recipe of a bundle: how its heads were fitted, for a device that fits them anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.recipe import MAX_RUNS, BranchRecipe, HeadRecipe, Recipe, mask_to_runs
from trainer.config import BranchConfig, HeadConfig, TrainConfig
from trainer.graph.branches import Branch, PatchBranch


def recipe(config: TrainConfig, branches: Sequence[Branch], region: NDArray[np.bool_] | None) -> Recipe | None:
    """Return the recipe; ``None`` where a device cannot fit the heads.

    It fits Gaussians of the features of patches.  Other kinds are solved by scikit-learn or draw references with torch,
    and the map of a whole image's feature needs the encoder's gradient.

    Args:
        config: settings of the training, after model selection.
        branches: of the graph.
        region: pixels that are inspected, bool ``[height, width]``; ``None``: all.
    """
    patches = [branch for branch in branches if isinstance(branch, PatchBranch)]
    if len(patches) < len(branches) or any(head.kind != "gaussian" for _, head in config.heads):
        return None
    heads = [
        _head(i, own, settings, in_region=branch.region(k) is not None)
        for i, (settings, branch) in enumerate(zip(config.branches, patches, strict=True))
        for k, own in enumerate(settings.head.each)
    ]
    runs = None if region is None or not any(head.in_region for head in heads) else mask_to_runs(region)
    if runs is not None and len(runs) > MAX_RUNS:
        return None
    return Recipe(
        branches=tuple(map(_branch, patches)),
        heads=tuple(heads),
        region=runs,
        score_weights=config.fusion.score_weights,
        map_weights=config.fusion.map_weights,
        folds=config.calibration.folds,
    )


def _branch(branch: PatchBranch) -> BranchRecipe:
    rows, columns = branch.centres
    return BranchRecipe(grid=(len(rows), len(columns)), first=float(rows[0]), stride=branch.geometry[1])


def _head(branch: int, own: HeadConfig, settings: BranchConfig, *, in_region: bool) -> HeadRecipe:
    return HeadRecipe(
        branch=branch,
        in_region=in_region,
        scope=own.scope[0],
        standardise=own.standardise[0],
        **own.model_dump(include={"regulariser", "ridge", "components", "floor", "neighbourhood", "trim"}),
        **settings.map.model_dump(include={"sigma", "upsampling", "image_score", "top_fraction"}),
    )

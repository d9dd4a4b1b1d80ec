"""Rules of the model selection, used where the proxy benchmark misleads (docs/results/defects.md).

Parts in any pose: the defects that matter are often the part's own texture in the wrong place, which no synthetic
defect here resembles.  Every encoder has equal weight in the image score.  An encoder trained here has one Gaussian for
all positions, and as image score the mean of the highest values (in the presets: of as many pixels as one window has),
because the single highest value is noisier.

Aligned parts: every head finds the changed pixels almost perfectly, so the benchmark does not separate maps.  The map
is made by one head of the best encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from trainer.config import BranchConfig, MapConfig, Scope, SelectionConfig


def scopes_to_try(branch: BranchConfig, config: SelectionConfig, aligned: bool) -> tuple[Scope, ...]:
    """Return the scopes of the heads to try on a branch."""
    if aligned:
        return tuple(dict.fromkeys((*config.scopes, map_scope(branch))))
    return config.scopes if is_frozen(branch) else ("shared",)


def maps_to_try(branch: BranchConfig, config: SelectionConfig, aligned: bool) -> list[MapConfig]:
    """Return the smoothings and image scores to try on a branch."""
    image_scores = config.image_scores if aligned or is_frozen(branch) else ("top",)
    return [
        branch.map.model_copy(update={"sigma": sigma, "image_score": image_score})
        for sigma, image_score in product(config.sigmas, image_scores)
    ]


def map_scope(branch: BranchConfig) -> Scope:
    """Return the scope of the head that makes the map of aligned parts.

    A covariance for each position is estimated from few samples, and overrates small changes where features hardly
    vary.  A trained encoder needs one nevertheless: which of its features vary differs from position to position.
    """
    return "position-mean" if is_frozen(branch) else "per-position"


def is_frozen(branch: BranchConfig) -> bool:
    """Return whether the encoder keeps the weights it begins with."""
    return branch.pretext.name == "none"


def one_head_per_branch(branch_of: Sequence[int], objectives: Sequence[float]) -> tuple[float, ...]:
    """Return equal weights for the best head of every branch, and 0 for the others.

    Args:
        branch_of: index of each head's branch.
        objectives: objective of each head.
    """
    best = {
        max((k for k, own in enumerate(branch_of) if own == branch), key=objectives.__getitem__)
        for branch in set(branch_of)
    }
    return tuple(float(k in best) / len(best) for k in range(len(branch_of)))


def one_head_for_the_map(
    branches: Sequence[BranchConfig], branch_of: Sequence[int], scopes: Sequence[Scope], objectives: Sequence[float]
) -> tuple[float, ...]:
    """Return weight 1 for the head that makes the map of aligned parts, on the branch that has the best head.

    Args:
        branches: settings of all branches.
        branch_of: index of each head's branch.
        scopes: scope of each head.
        objectives: objective of each head.
    """
    best = branch_of[int(np.argmax(objectives))]
    wanted = map_scope(branches[best])
    return tuple(float(branch == best and scope == wanted) for branch, scope in zip(branch_of, scopes, strict=True))

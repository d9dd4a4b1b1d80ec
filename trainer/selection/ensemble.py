"""Ensemble selection with replacement (Caruana et al., 2004)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from trainer.heads.fused import weighted_sum

MIN_GAIN = 1e-4
"""Smallest rise of the objective for which a further member is added; noise adds up to 8e-5."""


def select_ensemble(members: int, objective: Callable[[Sequence[float]], float], rounds: int = 8) -> tuple[float, ...]:
    """Return the weights of an ensemble: each round adds the member that gives the highest objective.

    Args:
        members: number of members to select from.
        objective: of weights; the weight of a member is how often it was added.
        rounds: maximum number of members, counted with repetition.

    Returns:
        The weights of the best round, with a sum of 1.
    """
    counts = [0.0] * members
    best, selected = -np.inf, counts
    for _ in range(rounds):
        trials = [[count + (k == i) for k, count in enumerate(counts)] for i in range(members)]
        objectives = [objective(trial) for trial in trials]
        counts = trials[int(np.argmax(objectives))]
        if max(objectives) > best + MIN_GAIN:
            best, selected = max(objectives), counts
    return tuple(count / sum(selected) for count in selected)


def weighted_mean(parts: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the mean of tensors of one shape, by weights that need not sum to 1."""
    return weighted_sum(parts, torch.tensor(weights)) / sum(weights)

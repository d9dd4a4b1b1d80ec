"""Ensemble selection against a plain implementation of the paper's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.selection.ensemble import select_ensemble


def naive_selection(members, objective, rounds=8):
    """Caruana et al. (2004), figure 1: a bag of members, the best of all bags on the way."""
    bag, best = [], (-np.inf, [])
    for _ in range(rounds):
        objectives = [objective([[*bag, i].count(k) for k in range(members)]) for i in range(members)]
        bag = [*bag, objectives.index(max(objectives))]
        if max(objectives) > best[0]:
            best = (max(objectives), bag)
    return tuple(best[1].count(k) / len(best[1]) for k in range(members))


@given(members=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_an_ensemble_is_no_worse_than_its_best_member(members, seed):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(members, 30)) + np.outer(generator.random(members), np.arange(30) >= 15)

    def objective(weights):
        """AUROC by pairs."""
        fused = sum(weight * own for weight, own in zip(weights, scores, strict=True))
        return float((fused[15:, None] > fused[:15]).mean())

    weights = select_ensemble(members, objective)
    assert weights == naive_selection(members, objective) == select_ensemble(members, objective)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert objective(weights) >= max(objective(np.eye(members)[k]) for k in range(members)) - 0.005  # a tie by rounding


@given(members=st.integers(1, 6), best=st.integers(0, 5))
def test_the_best_member_alone_is_taken_where_others_do_not_help(members, best):
    best %= members
    weights = select_ensemble(members, lambda weights: weights[best] / sum(weights))
    assert weights == tuple(float(k == best) for k in range(members))

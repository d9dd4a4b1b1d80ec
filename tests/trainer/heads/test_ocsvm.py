"""Support vector machines against scikit-learn's own scores."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.svm import OneClassSVM

from trainer.config import HeadConfig
from trainer.heads.base import Unfit
from trainer.heads.ocsvm import fit_linear, fit_rbf

RBF, LINEAR = (HeadConfig(kind=kind, scope="shared") for kind in ("ocsvm", "ocsvm-linear"))


def features(n, seed, dim=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 3, dim, generator=generator) + 2 * torch.arange(dim).remainder(2)


def flat(grid):
    return grid.double().reshape(-1, grid.shape[-1]).numpy()


def units(grid):
    return flat(grid) / np.linalg.norm(flat(grid), axis=1, keepdims=True)


@pytest.fixture(scope="module")
def grids():
    return features(20, 0), torch.cat((features(5, 1), -features(2, 2)))


def test_rbf_scores_are_scikit_learns_with_the_sign_reversed(grids):
    train, test = grids
    head = fit_rbf(train, RBF)
    matrix = units(train)
    machine = OneClassSVM(gamma=10 / (6 * matrix.var())).fit(matrix)  # as released: nu is left at its default
    gamma, total = float(head.gamma), machine.dual_coef_.sum()
    assert gamma == pytest.approx(machine._gamma, rel=1e-6)
    assert float(head.weights.sum()) == pytest.approx(1, rel=1e-5)
    scores = head.score(test).double().flatten().numpy()
    expected = machine.score_samples(units(test))
    near = expected > 1e-10
    np.testing.assert_allclose(np.exp(-gamma * scores[near]) * total, expected[near], rtol=1e-3)
    assert kendalltau(scores[near], -expected[near]).statistic > 0.999
    # Far from all support vectors even scikit-learn's float64 has nothing but zeros; there ours still rise.
    assert (~near).sum() >= 6
    assert scores[~near].min() > scores[near].max()
    assert len(set(scores[~near])) == (~near).sum() > len(set(expected[~near]))
    assert len(head.references) == len(machine.support_)
    assert len(matrix) / 2 <= len(head.references) < len(matrix)


def test_rbf_scores_do_not_grow_with_the_number_of_images():
    test = features(40, 9)
    few, many = (fit_rbf(features(n, 3), RBF).score(test).median() for n in (40, 160))
    assert float(many / few) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_linear_scores_are_scikit_learns_with_the_sign_reversed(grids, size):
    train, test = (size * grid for grid in grids)
    head = fit_linear(train, LINEAR)
    length = np.sqrt((flat(train) ** 2).sum(1).mean())
    machine = OneClassSVM(kernel="linear").fit(flat(train) / length)
    distances = (machine.offset_[0] - machine.score_samples(flat(test) / length)) / machine.score_samples(
        flat(train) / length
    ).std()
    np.testing.assert_allclose(head.score(test).flatten(), np.logaddexp(0, distances), rtol=1e-3)
    assert (head.score(train) < np.log(2)).float().mean() == pytest.approx(0.5, abs=0.05)


def test_linear_ranks_as_on_features_that_were_not_scaled(grids):
    train, test = grids
    machine = OneClassSVM(kernel="linear", tol=1e-6).fit(flat(train))
    found = fit_linear(train, LINEAR).score(test).flatten()
    assert kendalltau(found, -machine.score_samples(flat(test))).statistic > 0.98


def test_linear_scores_depend_on_the_length_of_features(grids):
    """Short features are near the origin, which is what the plane keeps good parts from."""
    train, test = grids
    head = fit_linear(train, LINEAR)
    assert (head.score(0.1 * test[:5]) > head.score(test[:5])).float().mean() > 0.9


def test_linear_refuses_what_does_not_vary():
    with pytest.raises(Unfit, match="all the same"):
        fit_linear(torch.ones(9, 1, 1, 4), LINEAR)

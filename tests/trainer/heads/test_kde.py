"""The kernel density against scikit-learn's and against the released code's formula."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

from trainer.config import HeadConfig
from trainer.heads.kde import fit_kde

CONFIG = HeadConfig(kind="kde", scope="shared")


def features(n, seed, dim=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, 3, dim, generator=generator) + 2 * torch.arange(dim).remainder(2)


def units(grid):
    flat = grid.double().reshape(-1, grid.shape[-1]).numpy()
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def fitted():
    train, test = features(12, 0), features(5, 1)
    return fit_kde(train, CONFIG), units(train), test


def test_the_density_equals_scikit_learns(fitted):
    head, train, test = fitted
    gamma = float(head.gamma)
    density = KernelDensity(bandwidth=1 / np.sqrt(2 * gamma)).fit(train)
    constant = -3 * np.log(np.pi / gamma)  # of a Gaussian in six dimensions
    expected = -(density.score_samples(units(test)) - constant) / gamma
    np.testing.assert_allclose(head.score(test).flatten(), expected, rtol=1e-4, atol=1e-6)


def test_the_score_equals_the_released_formula_up_to_a_constant(fitted):
    head, train, test = fitted
    gamma = float(head.gamma)
    released = [-logsumexp(2 * gamma * train @ u) / gamma for u in units(test)]
    constant = 2 + np.log(len(train)) / gamma
    np.testing.assert_allclose(head.score(test).flatten(), np.array(released) + constant, rtol=1e-4, atol=1e-6)


def test_doubling_every_reference_changes_nothing():
    train, test = features(12, 0), features(5, 1)
    once, twice = fit_kde(train, CONFIG), fit_kde(torch.cat((train, train)), CONFIG)
    assert len(twice.references) == 2 * len(once.references)
    torch.testing.assert_close(twice.score(test), once.score(test))

"""The k nearest neighbours against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors

from trainer.config import HeadConfig
from trainer.heads.base import Unfit
from trainer.heads.knn import fit_knn

CONFIG = HeadConfig(kind="knn", scope="shared")


def features(n, seed, dim=6):
    return torch.randn(n, 2, 3, dim, generator=torch.Generator().manual_seed(seed))


def expected(train, test, neighbours=3):
    dim = train.shape[-1]
    found = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(train.reshape(-1, dim).double().numpy())
    distances, _ = found.kneighbors(test.reshape(-1, dim).double().numpy())
    return np.square(distances).mean(1)


@given(seed=st.integers(0, 2**31), dim=st.integers(2, 9), towards=st.floats(0, 10), neighbours=st.integers(1, 42))
def test_the_score_is_the_mean_squared_distance_to_the_nearest_neighbours(seed, dim, towards, neighbours):
    train, test = features(7, seed, dim) + towards, features(3, seed + 1, dim) + towards
    head = fit_knn(train, CONFIG.model_copy(update={"neighbours": neighbours}))
    np.testing.assert_allclose(head.score(test).flatten(), expected(train, test, neighbours), rtol=1e-4, atol=1e-5)


def test_lengths_count():
    train = features(7, 0)
    head = fit_knn(train, CONFIG)
    assert bool((head.score(5 * train) > head.score(train)).all())


def test_small_distances_far_from_zero_keep_their_digits():
    base = 100 * torch.rand(1, 1, 1, 64, generator=torch.Generator().manual_seed(1))
    train, test = (base + 0.1 * torch.randn(n, 1, 1, 64, generator=torch.Generator().manual_seed(n)) for n in (50, 20))
    found = fit_knn(train, CONFIG).score(test).flatten()
    np.testing.assert_allclose(found, expected(train, test), rtol=1e-3)


def test_too_few_features_are_refused():
    with pytest.raises(Unfit, match="2 features for 3 neighbours"):
        fit_knn(features(7, 0), CONFIG.model_copy(update={"references": 2}))

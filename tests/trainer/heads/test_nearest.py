"""The nearest neighbour against a loop over cosines."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import HeadConfig
from trainer.heads.nearest import fit_nearest

CONFIG = HeadConfig(kind="nearest", scope="shared")


def features(n, seed, dim=6):
    return torch.randn(n, 2, 3, dim, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@given(seed=st.integers(0, 2**31), dim=st.integers(2, 9), towards=st.floats(0, 10))
def test_the_score_is_one_minus_the_largest_cosine(seed, dim, towards):
    train, test = features(7, seed, dim) + towards, features(3, seed + 1, dim) + towards
    found = fit_nearest(train, CONFIG).score(test).flatten()
    references = train.reshape(-1, dim).double().numpy()
    expected = [1 - max(cosine(one, r) for r in references) for one in test.reshape(-1, dim).double().numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


def test_a_reference_scores_nothing_and_nothing_else_does():
    train, test = features(7, 0), features(3, 1)
    head = fit_nearest(train, CONFIG)
    assert float(head.score(5 * train).max()) < 1e-12
    assert float(head.score(test).min()) > 1e-3


def test_parts_that_are_nearly_alike_keep_their_digits():
    """All features within a thousandth of one direction: a cosine in fp32 would have two digits left."""
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(1, 1, 1, 64, generator=generator) + 1
    train, test = (base + 1e-3 * torch.randn(n, 1, 1, 64, generator=generator) for n in (50, 20))
    found = fit_nearest(train, CONFIG).score(test).flatten()
    references = train.reshape(-1, 64).double().numpy()
    expected = [1 - max(cosine(one, r) for r in references) for one in test.reshape(-1, 64).double().numpy()]
    assert max(expected) < 1e-6
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_a_small_distance_keeps_its_digits_among_references_far_apart():
    """Two bundles of directions: the mean is between them, where measuring from it helps little."""
    generator = torch.Generator().manual_seed(0)
    base = torch.eye(2, 8).view(2, 1, 1, 8).repeat(30, 1, 1, 1)
    train, test = (base + 1e-3 * torch.randn(60, 1, 1, 8, generator=generator) for _ in "ab")
    found = fit_nearest(train, CONFIG).score(test).flatten()
    references = train.reshape(-1, 8).double().numpy()
    expected = [1 - max(cosine(one, r) for r in references) for one in test.reshape(-1, 8).double().numpy()]
    assert max(expected) < 1e-5
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-10)

"""Code of all heads that keep references: their choice, the kernel's width, and the soft minimum of distances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp

from trainer.config import HeadConfig
from trainer.heads.base import Unfit
from trainer.heads.references import drawn, make_references, soft_minimum

CONFIG = HeadConfig(kind="kde", scope="shared", references=50)


def features(n=8, rows=3, columns=2, dim=5, seed=0):
    return torch.rand(n, rows, columns, dim, generator=torch.Generator().manual_seed(seed)) + 0.1


def test_few_features_are_all_kept_in_their_order():
    given_ones = features()
    assert torch.equal(drawn(given_ones, 48), given_ones.double().reshape(48, 5))


def test_many_are_drawn_always_the_same():
    given_ones = features(40)
    some = drawn(given_ones, 50)
    assert some.shape == (50, 5)
    assert torch.equal(some, drawn(given_ones, 50))
    flat = given_ones.double().reshape(-1, 5)
    places = [int((flat == one).all(1).nonzero()) for one in some]
    assert places == sorted(set(places))
    assert min(places) < 60
    assert max(places) > 180  # from all images, not from the first


def test_references_are_at_unit_length_and_measured_from_their_mean():
    given_ones = features()
    found = make_references(given_ones, CONFIG)
    units = np.array([f / np.linalg.norm(f) for f in given_ones.double().reshape(-1, 5).numpy()])
    np.testing.assert_allclose(found.mean[0, 0], units.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.mean[0] + found.centred, units, rtol=1e-12)


def test_the_kernels_width_is_the_released_ones():
    """Ten times scikit-learn's gamma="scale"."""
    units = make_references(features(), CONFIG)
    matrix = (units.mean[0] + units.centred).numpy()
    assert units.gamma == pytest.approx(10 / (5 * matrix.var()))
    centred = features() - features().mean((0, 1, 2))
    zero_mean = make_references(centred, CONFIG)
    assert zero_mean.gamma == pytest.approx(10, rel=0.1)  # unit vectors around the origin have d Var(U) = 1


@pytest.mark.parametrize("value", [0.0, 3.0, float("nan")])
def test_features_that_are_all_the_same_are_refused(value):
    same = torch.full((4, 2, 2, 5), value)
    same[..., 0] += 1
    with pytest.raises(Unfit, match="16 features that are all the same") as caught:
        make_references(same * torch.rand(4, 2, 2, 1).add(1), CONFIG)
    assert "--seed" in caught.value.advice


def weights_of(count, seed):
    weights = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3
    return weights / weights.sum()


@given(count=st.integers(1, 30), gamma=st.floats(0.01, 1e4), seed=st.integers(0, 2**31))
def test_the_soft_minimum_equals_its_definition(count, gamma, seed):
    squared = 4 * torch.rand(6, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weights = weights_of(count, seed + 1)
    found, slopes = soft_minimum(squared, weights, torch.tensor([gamma], dtype=torch.float64))
    expected = [-logsumexp(-gamma * row, b=weights.numpy()) / gamma for row in squared.numpy()]
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert (found >= squared.amin(1) - 1e-12).all()
    assert (found <= squared @ weights + 1e-12).all()
    free = squared.clone().requires_grad_()
    (expected_slopes,) = torch.autograd.grad(soft_minimum(free, weights, torch.tensor([gamma]).double())[0].sum(), free)
    torch.testing.assert_close(slopes, expected_slopes)
    torch.testing.assert_close(slopes.sum(1), torch.ones(6).double())


def test_in_fp32_no_distance_is_too_far():
    """exp(-200) is nothing in fp32; a logarithm of it would be infinite, and a gradient not a number."""
    found, slopes = soft_minimum(torch.tensor([[4.0, 3.9, 4.0]]), torch.full((3,), 1 / 3), torch.tensor([50.0]))
    assert float(found) == pytest.approx(3.9 + np.log(3) / 50, rel=1e-3)
    assert float(slopes.sum()) == pytest.approx(1)

"""Shrinkage against scikit-learn, kept directions against principal components in plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import OAS, LedoitWolf
from sklearn.decomposition import PCA

from trainer.config import HeadConfig
from trainer.heads.covariance import ledoit_wolf, oas, whiten


def centred_samples(batch, n, dim, seed):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(batch, dim, dim, generator=generator, dtype=torch.float64)
    samples = torch.randn(batch, n, dim, generator=generator, dtype=torch.float64) @ mixing
    return samples - samples.mean(1, keepdim=True)


def covariance_of(centred):
    return centred.transpose(1, 2) @ centred / centred.shape[1]


@given(n=st.integers(2, 60), dim=st.integers(1, 40), seed=st.integers(0, 2**31))
def test_shrinkage_equals_scikit_learns(n, dim, seed):
    """The case that matters is among them: fewer images than dimensions."""
    centred = centred_samples(3, n, dim, seed)
    covariance = covariance_of(centred)
    found = {LedoitWolf: ledoit_wolf(centred, covariance), OAS: oas(n, covariance)}
    for estimator, (shrinkage, scale) in found.items():
        for k in range(3):
            reference = estimator(assume_centered=True).fit(centred[k].numpy())
            mixed = (1 - shrinkage[k]) * covariance[k] + shrinkage[k] * scale[k] * torch.eye(dim, dtype=torch.float64)
            np.testing.assert_allclose(mixed, reference.covariance_, rtol=1e-9, atol=1e-9 * float(scale[k]))
            if dim > 1:  # one variance is its own identity, however far it is shrunk
                assert float(shrinkage[k]) == pytest.approx(reference.shrinkage_, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "ridge"])
def test_whitening_is_the_root_of_the_inverse(regulariser):
    centred = centred_samples(2, 30, 6, 0)
    config = HeadConfig(dim=6, regulariser=regulariser, ridge=0.3)
    whitening, singular = whiten(centred, config, torch.tensor(0.2, dtype=torch.float64))
    assert not singular.any()
    for k in range(2):
        covariance = covariance_of(centred)[k].numpy()
        if regulariser == "ridge":
            expected = covariance + 0.3 * np.eye(6)
        else:
            kind = OAS if regulariser == "oas" else LedoitWolf
            expected = kind(assume_centered=True).fit(centred[k].numpy()).covariance_
        np.testing.assert_allclose(whitening[k].T @ whitening[k], np.linalg.inv(expected + 0.2 * np.eye(6)), rtol=1e-9)


@pytest.mark.parametrize("n", [40, 5])
@pytest.mark.parametrize("components", [1, 3, 7])
def test_low_rank_is_the_kept_components_and_a_residual(n, components):
    centred, other = centred_samples(2, n, 8, 1), centred_samples(2, 9, 8, 2)
    config = HeadConfig(dim=8, regulariser="low-rank", components=components)
    floor = 0.1
    whitening, _ = whiten(centred, config, torch.tensor(floor, dtype=torch.float64))
    for k in range(2):
        variances, directions = np.linalg.eigh(covariance_of(centred)[k].numpy())
        kept, rest = directions[:, -components:], variances[:-components].mean()
        for sample in other[k].numpy():
            along = kept.T @ sample
            outside = sample - kept @ along
            expected = (along**2 / (variances[-components:] + floor)).sum() + outside @ outside / (rest + floor)
            found = whitening[k].numpy() @ sample
            assert found @ found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "components"), [(40, 3), (5, 3), (5, 7)])
def test_low_variance_is_rippels(n, components):
    """Principal components that vary least, and Ledoit and Wolf's covariance of the samples along them."""
    centred, other = centred_samples(2, n, 8, 3), centred_samples(2, 9, 8, 4)
    config = HeadConfig(dim=8, regulariser="low-variance", components=components)
    whitening, singular = whiten(centred, config, torch.tensor(0.0).double())
    assert not singular.any()
    for k in range(2):
        samples = centred[k].numpy()
        axes = PCA().fit(samples).components_[: min(n - 1, 8)][-components:]
        precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit(samples @ axes.T).covariance_)
        assert whitening[k].shape == (min(components, n - 1), 8)
        for sample in other[k].numpy():
            found = whitening[k].numpy() @ sample
            along = axes @ sample
            assert found @ found == pytest.approx(along @ precision @ along, rel=1e-7)


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "low-rank", "low-variance"])
def test_what_does_not_vary_is_singular_unless_there_is_a_floor(regulariser):
    flat = torch.cat((torch.zeros(1, 9, 4).double(), centred_samples(1, 9, 4, 5)))
    config = HeadConfig(dim=4, regulariser=regulariser, components=2 if regulariser.startswith("low") else None)
    assert whiten(flat, config, torch.tensor(0.0).double())[1].tolist() == [True, False]
    whitening, singular = whiten(flat, config, torch.tensor(0.1).double())
    assert not singular.any()
    assert torch.isfinite(whitening).all()

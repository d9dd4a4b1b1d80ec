"""Shrinkage against scikit-learn, kept directions against principal components in plain loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.covariance import Regularisation, ledoit_wolf, oas, samples_of, whiten, whiten_matrices

pytestmark = pytest.mark.train  # scikit-learn is the reference


def centred_samples(batch, n, dim, seed):
    generator = np.random.default_rng(seed)
    samples = generator.normal(size=(batch, n, dim)) @ generator.normal(size=(batch, dim, dim))
    return samples - samples.mean(1, keepdims=True)


@given(n=st.integers(2, 60), dim=st.integers(1, 40), blocks=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_shrinkage_equals_scikit_learns(n, dim, blocks, seed):
    """Fewer images than dimensions, which is what shrinkage is for, are among the cases."""
    from sklearn.covariance import OAS, LedoitWolf

    centred = centred_samples(3, n, dim, seed)
    samples = samples_of(np.array_split(centred, min(blocks, n), axis=1))
    found = {
        LedoitWolf: ledoit_wolf(n, samples.covariance, samples.fourth_moment()),
        OAS: oas(n, samples.covariance),
    }
    assert samples.count == n
    for estimator, (shrinkage, scale) in found.items():
        for k in range(3):
            reference = estimator(assume_centered=True).fit(centred[k])
            mixed = (1 - shrinkage[k]) * samples.covariance[k] + shrinkage[k] * scale[k] * np.eye(dim)
            np.testing.assert_allclose(mixed, reference.covariance_, rtol=1e-9, atol=1e-9 * float(scale[k]))
            if dim > 1:  # one variance is its own identity, however far it is shrunk
                assert float(shrinkage[k]) == pytest.approx(reference.shrinkage_, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "ridge"])
def test_whitening_is_the_root_of_the_inverse(regulariser):
    from sklearn.covariance import OAS, LedoitWolf

    centred = centred_samples(2, 30, 6, 0)
    whitening, singular = whiten(samples_of([centred]), Regularisation(regulariser, ridge=0.3), 0.2)
    assert not singular.any()
    for k in range(2):
        if regulariser == "ridge":
            expected = centred[k].T @ centred[k] / 30 + 0.3 * np.eye(6)
        else:
            kind = OAS if regulariser == "oas" else LedoitWolf
            expected = kind(assume_centered=True).fit(centred[k]).covariance_
        np.testing.assert_allclose(whitening[k].T @ whitening[k], np.linalg.inv(expected + 0.2 * np.eye(6)), rtol=1e-9)


@pytest.mark.parametrize("n", [40, 5])
@pytest.mark.parametrize("components", [1, 3, 7])
def test_low_rank_is_the_kept_components_and_a_residual(n, components):
    centred, other = centred_samples(2, n, 8, 1), centred_samples(2, 9, 8, 2)
    floor = 0.1
    whitening, _ = whiten(samples_of([centred]), Regularisation("low-rank", components=components), floor)
    for k in range(2):
        variances, directions = np.linalg.eigh(centred[k].T @ centred[k] / n)
        kept, rest = directions[:, -components:], variances[:-components].mean()
        for sample in other[k]:
            along = kept.T @ sample
            outside = sample - kept @ along
            expected = (along**2 / (variances[-components:] + floor)).sum() + outside @ outside / (rest + floor)
            found = whitening[k] @ sample
            assert found @ found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "components"), [(40, 3), (5, 3), (5, 7)])
def test_low_variance_is_rippels(n, components):
    """Principal components that vary least, and Ledoit and Wolf's covariance of the samples along them."""
    from sklearn.covariance import LedoitWolf
    from sklearn.decomposition import PCA

    centred, other = centred_samples(2, n, 8, 3), centred_samples(2, 9, 8, 4)
    samples = samples_of(np.array_split(centred, 2, axis=1))
    whitening, singular = whiten(samples, Regularisation("low-variance", components=components), 0.0)
    assert not singular.any()
    for k in range(2):
        axes = PCA().fit(centred[k]).components_[: min(n - 1, 8)][-components:]
        precision = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred[k] @ axes.T).covariance_)
        assert whitening[k].shape == (min(components, n - 1), 8)
        for sample in other[k]:
            found = whitening[k] @ sample
            along = axes @ sample
            assert found @ found == pytest.approx(along @ precision @ along, rel=1e-7)


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "low-rank", "low-variance"])
def test_samples_that_do_not_vary_are_singular_unless_there_is_a_floor(regulariser):
    samples = samples_of([np.concatenate((np.zeros((1, 9, 4)), centred_samples(1, 9, 4, 5)))])
    settings = Regularisation(regulariser, components=2 if regulariser.startswith("low") else None)
    assert whiten(samples, settings, 0.0)[1].tolist() == [True, False]
    whitening, singular = whiten(samples, settings, 0.1)
    assert not singular.any()
    assert np.isfinite(whitening).all()


@given(dim=st.integers(1, 33), seed=st.integers(0, 2**31))
def test_whitenings_are_lower_triangular_inverse_roots(dim, seed):
    (samples,) = centred_samples(1, 2 * dim + 2, dim, seed)
    matrix = samples.T @ samples + np.eye(dim)
    (whitening,), _ = whiten_matrices(matrix[None])
    assert (np.triu(whitening, 1) == 0).all()
    np.testing.assert_allclose(whitening @ matrix @ whitening.T, np.eye(dim), atol=1e-9)

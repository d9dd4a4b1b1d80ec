"""The tensors of a fitted Gaussian, as they are stored and as an engine takes them."""

import numpy as np
import pytest

from edge_occ.bundle.covariance import Regularisation
from edge_occ.bundle.gaussian import MIN_FLOOR, fit_gaussian, without_zeros
from edge_occ.bundle.sample_grid import GaussianSettings


def features(n=60, dim=16, seed=0):
    """Features whose dimensions hang together, as those of an encoder."""
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(dim, dim)) * np.geomspace(1, 0.03, dim)
    return (generator.normal(size=(n, 3, 4, dim)) @ mixing).astype(np.float32)


def scores(tensors, features):
    """Squared lengths ``[n, rows, columns]``, position by position from whole matrices."""
    whitening, half = tensors["whitening"], features.shape[3] // 2
    if whitening.ndim == 5:
        whole = np.zeros((*whitening.shape[:2], 2 * half, 2 * half))
        whole[:, :, :half, :half], whole[:, :, half:, :half] = whitening[:, :, 0], whitening[:, :, 1]
        whole[:, :, half:, half:] = whitening[:, :, 2]
        whitening = whole
    whitened = np.einsum("ijkd,nijd->nijk", whitening.astype(np.float64), features - tensors["mean"].astype(np.float64))
    return np.square(whitened).sum(3)


def test_three_quarters_hold_all_of_a_lower_triangular_matrix():
    whole = np.tril(np.random.default_rng(0).normal(size=(2, 3, 6, 6))).astype(np.float32)
    quarters = without_zeros(whole)
    assert quarters.shape == (2, 3, 3, 3, 3)
    again = np.block([[quarters[:, :, 0], np.zeros((2, 3, 3, 3))], [quarters[:, :, 1], quarters[:, :, 2]]])
    np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("shape", [(2, 3, 5, 5), (2, 3, 4, 6), (2, 3, 1, 1)])
def test_matrices_without_halves_are_left_as_they_are(shape):
    matrices = np.tril(np.ones(shape, np.float32))
    assert without_zeros(matrices) is matrices


def test_a_matrix_with_anything_in_the_last_quarter_is_left_as_it_is():
    matrices = np.tril(np.ones((2, 3, 6, 6), np.float32))
    matrices[1, 2, 0, 5] = 1e-30
    assert without_zeros(matrices) is matrices


def test_positions_that_share_a_matrix_keep_it():
    tensors = fit_gaussian(features(), GaussianSettings("shared")).tensors()
    assert tensors["whitening"].shape == (1, 1, 16, 16)
    assert not float16_holds(tensors["whitening"])


def float16_holds(values):
    return np.array_equal(values.astype(np.float16), values)


@pytest.mark.parametrize("floor", [MIN_FLOOR, 0.01, 0.05])
@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "ridge"])
def test_rounding_changes_no_score_by_more_than_the_parity_gate_lets_through(floor, regulariser):
    normal, other = features(), features(seed=1)
    fitted = fit_gaussian(normal, GaussianSettings("per-position", Regularisation(regulariser, 1e-6, None, floor)))
    tensors = fitted.tensors()
    assert tensors["whitening"].shape == (3, 4, 3, 8, 8)
    assert float16_holds(tensors["whitening"])
    np.testing.assert_allclose(scores(tensors, other), fitted.score(other), rtol=1e-3)


def test_without_a_floor_nothing_is_rounded():
    normal = features()
    fitted = fit_gaussian(normal, GaussianSettings("per-position", Regularisation("ridge", floor=MIN_FLOOR / 2)))
    tensors = fitted.tensors()
    assert not float16_holds(tensors["whitening"])
    np.testing.assert_allclose(scores(tensors, normal), fitted.score(normal), rtol=1e-4)


def test_kept_directions_are_no_triangle():
    settings = GaussianSettings("per-position", Regularisation("low-variance", components=4))
    assert fit_gaussian(features(), settings).tensors()["whitening"].shape == (3, 4, 4, 16)

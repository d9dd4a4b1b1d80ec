"""Closed forms against refits without the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_occ.bundle.covariance import Regularisation, shrinkage
from edge_occ.bundle.gaussian import SingularCovariance, fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.sample_grid import GaussianSettings, SampleGrid, Scope

SCOPES: list[Scope] = ["shared", "per-position", "position-mean"]


def features(n, rows, columns, dim, seed):
    generator = np.random.default_rng(seed)
    varying = generator.normal(size=(n, rows, columns, dim)) @ generator.normal(size=(dim, dim))
    return (varying + 3 * generator.normal(size=(rows, columns, dim))).astype(np.float32)


shapes = st.tuples(st.integers(3, 9), st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 2**31))


@settings(max_examples=40)
@given(shapes, st.sampled_from(SCOPES), st.sampled_from([1, 3, 5]))
def test_with_a_ridge_it_is_fitting_without_the_image(shape, scope, side):
    """A ridge does not depend on the images, so that the refit is the public one."""
    normal = features(*shape)
    asked = GaussianSettings(scope, Regularisation("ridge", ridge=0.1, floor=0), side)
    found = leave_one_out(normal, asked)
    for k in range(len(normal)):
        others = fit_gaussian(np.delete(normal, k, 0), asked)
        np.testing.assert_allclose(found[k], others.score(normal[k : k + 1])[0], rtol=1e-7)


@settings(max_examples=40)
@given(shapes, st.sampled_from(SCOPES), st.sampled_from([1, 3]), st.sampled_from(["ledoit-wolf", "oas"]), st.booleans())
def test_shrinkage_and_floor_stay_those_of_all_images(shape, scope, side, regulariser, with_floor):
    normal = features(*shape)
    asked = GaussianSettings(scope, Regularisation(regulariser, floor=0.3 if with_floor else 0.01), side)
    found = leave_one_out(normal, asked)
    grid = SampleGrid(normal, asked)
    rows = [shrinkage(samples, asked.regularisation) for samples in grid]
    for k in range(len(normal)):
        kept = SampleGrid(np.delete(normal, k, 0), asked)
        for row, (samples, (weight, identity)) in enumerate(zip(kept, rows, strict=True)):
            for column, covariance in enumerate(samples.covariance):
                matrix = weight[column] * covariance + (identity[column] + grid.floor) * np.eye(normal.shape[3])
                # The one Gaussian of all positions scores all of them.
                place = (k, row, column) if scope == "per-position" else (k,)
                mean = kept.mean[row, column] if scope == "per-position" else kept.mean
                deviation = (normal[place] - mean).reshape(-1, normal.shape[3])
                expected = np.einsum("pd,dp->p", deviation, np.linalg.solve(matrix, deviation.T))
                np.testing.assert_allclose(found[place].ravel(), expected, rtol=1e-7)


@settings(max_examples=30)
@given(shapes, st.sampled_from(SCOPES), st.sampled_from([1, 3]), st.data())
def test_all_shots_of_a_part_are_left_out_and_other_images_can_be_scored(shape, scope, side, data):
    """Against refits, with parts of different numbers of shots, and with a region."""
    normal = features(*shape)
    n, rows, columns, dim = normal.shape
    parts = np.array(data.draw(st.permutations([k // 2 if k < n // 2 else k - n // 4 for k in range(n)])))
    parts = np.unique(parts, return_inverse=True)[1]
    others = features(4, rows, columns, dim, shape[-1] // 2)
    left_out = np.array(data.draw(st.lists(st.integers(0, parts.max()), min_size=4, max_size=4)))
    cells = data.draw(st.lists(st.booleans(), min_size=rows * columns, max_size=rows * columns))
    region = np.array(cells).reshape(rows, columns) if any(cells) else None
    asked = GaussianSettings(scope, Regularisation("ridge", ridge=0.1, floor=0), side)
    found = leave_one_out(normal, asked, parts=parts, scored=others, left_out=left_out, region=region)
    inside = np.ones((rows, columns), bool) if region is None else region
    for k, part in enumerate(left_out):
        fitted = fit_gaussian(normal[parts != part], asked, region)
        expected = fitted.score(others[k : k + 1, inside].reshape(1, *found.shape[1:], dim))[0]
        np.testing.assert_allclose(found[k], expected, rtol=1e-6)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_region_scores_its_own_positions(scope):
    """Gaussians of single positions are those of the whole grid, in the order of the rows."""
    normal = features(20, 4, 3, 5, 0)
    region = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0]], bool)
    asked = GaussianSettings(scope)
    inside = leave_one_out(normal, asked, region=region)
    assert inside.shape == (20, 1, 4)
    if scope == "per-position":
        np.testing.assert_allclose(inside[:, 0], leave_one_out(normal, asked)[:, region])


def test_an_image_scores_higher_by_a_gaussian_that_did_not_see_it():
    normal = features(12, 3, 3, 5, 0)
    for scope in SCOPES:
        asked = GaussianSettings(scope)
        assert leave_one_out(normal, asked).mean() > fit_gaussian(normal, asked).score(normal).mean()


def test_one_part_cannot_be_left_out():
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out(features(1, 2, 2, 3, 0), GaussianSettings())
    with pytest.raises(ValueError, match="at least two"):
        leave_one_out(features(3, 2, 2, 3, 0), GaussianSettings(), parts=np.zeros(3, np.int64))


def test_kept_directions_are_refused():
    with pytest.raises(ValueError, match="low-rank"):
        leave_one_out(features(5, 2, 2, 3, 0), GaussianSettings("shared", Regularisation("low-rank", components=2)))


@pytest.mark.parametrize("scope", SCOPES)
def test_features_that_never_vary_are_refused(scope):
    with pytest.raises(SingularCovariance, match="regulariser=ledoit-wolf"):
        leave_one_out(np.zeros((5, 2, 2, 3), np.float32), GaussianSettings(scope))

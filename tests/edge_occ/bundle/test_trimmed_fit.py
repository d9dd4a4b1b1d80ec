"""Gaussians that are fitted without the farthest samples of each position."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_occ.bundle.covariance import Regularisation
from edge_occ.bundle.gaussian import fit_gaussian
from edge_occ.bundle.leave_one_out import leave_one_out
from edge_occ.bundle.sample_grid import GaussianSettings, pooled_side

ROWS, COLUMNS, DIM = 2, 3, 6
NO_FLOOR = Regularisation(floor=0)


def normal(n: int, seed: int) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=(n, ROWS, COLUMNS, DIM))


def defective(n: int, seed: int) -> NDArray[np.float64]:
    """Another direction at one position of each image, the same for all of them: what a fit can learn as normal."""
    images = normal(n, seed)
    images[:, 0, 0] += 6 / np.sqrt(DIM)
    return images


@pytest.mark.parametrize("side", [1, 3])
def test_each_position_is_fitted_without_its_own_farthest_samples(side):
    features = normal(40, 0)
    settings = GaussianSettings("per-position", NO_FLOOR, side, trim=0.25)
    trimmed = fit_gaussian(features, settings)
    plain = fit_gaussian(features, replace(settings, trim=0))
    kept = np.empty((30, ROWS, COLUMNS, DIM))
    for row in range(ROWS):
        for column in range(COLUMNS):
            deviations = features[:, row, column] - plain.mean[row, column]
            distances = [np.linalg.norm(plain.whitening[row, column] @ each) for each in deviations]
            kept[:, row, column] = features[np.argsort(distances)[:30], row, column]
    again = fit_gaussian(kept, replace(settings, trim=0))
    np.testing.assert_allclose(
        trimmed.score(features), again.score(features), rtol=1e-9
    )  # the order of the samples does not count
    assert (trimmed.score(features).mean(0) > plain.score(features).mean(0)).all()


def test_a_share_of_nothing_is_the_plain_fit():
    features = normal(20, 0)
    for trim in (0.0, 0.01):
        fitted = fit_gaussian(features, GaussianSettings(trim=trim))
        np.testing.assert_allclose(fitted.score(features), fit_gaussian(features, GaussianSettings()).score(features))


def test_fewer_samples_do_not_change_what_is_pooled():
    images = 2 * DIM
    assert (pooled_side("auto", images, DIM), pooled_side("auto", images - 1, DIM)) == (1, 3)
    features = normal(images, 0)
    auto, alone = (GaussianSettings(neighbourhood=side, trim=0.3) for side in ("auto", 1))
    np.testing.assert_array_equal(fit_gaussian(features, auto).whitening, fit_gaussian(features, alone).whitening)


@pytest.mark.parametrize("scope", ["per-position", "shared", "position-mean"])
@pytest.mark.parametrize("seed", range(3))
def test_defects_among_the_images_hide_fewer_defects(scope, seed):
    """One in ten images shows the defect that is to be found."""
    mixed = np.concatenate([normal(180, seed), defective(20, 100 + seed)])
    further = defective(200, 200 + seed)

    def found(trim: float) -> float:
        gaussian = fit_gaussian(mixed, GaussianSettings(scope, NO_FLOOR, 1, trim))
        limit = np.quantile(gaussian.score(normal(2000, 300 + seed)).max((1, 2)), 0.99)
        return float((gaussian.score(further).max((1, 2)) > limit).mean())

    assert found(0.15) > found(0)


def test_leaving_one_out_is_left_to_folds():
    features, settings = normal(20, 0), GaussianSettings(trim=0.2)
    with pytest.raises(ValueError, match="folds"):
        leave_one_out(features, settings)

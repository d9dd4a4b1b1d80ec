"""The Gaussian head against scikit-learn and float64 loops."""

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS, LedoitWolf

from edge_occ.bundle.gaussian import without_zeros
from edge_occ.bundle.standardise import OFFSET, LogScale
from trainer.config import HeadConfig
from trainer.heads.base import Unfit
from trainer.heads.gaussian import GaussianHead, StandardisedGaussianHead, fit_gaussian

ESTIMATORS = {"ledoit-wolf": LedoitWolf, "oas": OAS}


def features(n=30, rows=3, columns=4, dim=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator)
    offsets = torch.randn(rows, columns, dim, generator=generator)
    return torch.randn(n, rows, columns, dim, generator=generator) @ mixing + 3 * offsets


def regularised(samples, config):
    centred = samples - samples.mean(0)
    if config.regulariser == "ridge":
        return centred.T @ centred / len(samples) + config.ridge * np.eye(samples.shape[1])
    return ESTIMATORS[config.regulariser](assume_centered=True).fit(centred).covariance_


def naive_scores(train, test, config, mean_of, samples_of):
    """Squared Mahalanobis distances by a float64 inverse, position by position."""
    n, rows, columns, dim = test.shape
    floor = config.floor * train.double().numpy().reshape(-1, dim).var(0).mean() * np.eye(dim)
    scores = np.empty((n, rows, columns))
    for i in range(rows):
        for j in range(columns):
            mean = mean_of(i, j)
            precision = np.linalg.inv(regularised(samples_of(i, j), config) + floor)
            for k in range(n):
                difference = test[k, i, j].numpy().astype(np.float64) - mean
                scores[k, i, j] = difference @ precision @ difference
    return scores


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "ridge"])
def test_shared(regulariser):
    train, test = features(), features(5, seed=1)
    config = HeadConfig(dim=6, regulariser=regulariser, scope="shared")
    head = fit_gaussian(train, config)
    assert head.mean.shape == (1, 1, 6)
    assert head.whitening.shape == (1, 1, 6, 6)
    samples = train.reshape(-1, 6).double().numpy()
    expected = naive_scores(train, test, config, lambda i, j: samples.mean(0), lambda i, j: samples)
    np.testing.assert_allclose(head.score(test), expected, rtol=1e-4)


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "ridge"])
def test_position_mean(regulariser):
    train, test = features(), features(5, seed=1)
    config = HeadConfig(dim=6, regulariser=regulariser, scope="position-mean")
    head = fit_gaussian(train, config)
    assert head.mean.shape == (3, 4, 6)
    assert head.whitening.shape == (1, 1, 6, 6)
    double = train.double().numpy()
    means = double.mean(0)
    pooled = (double - means).reshape(-1, 6)
    expected = naive_scores(train, test, config, lambda i, j: means[i, j], lambda i, j: pooled)
    np.testing.assert_allclose(head.score(test), expected, rtol=1e-4)


@pytest.mark.parametrize("regulariser", ["ledoit-wolf", "oas", "ridge"])
@pytest.mark.parametrize("side", [1, 3])
def test_per_position(regulariser, side):
    train, test = features(), features(5, seed=1)
    config = HeadConfig(dim=6, regulariser=regulariser, neighbourhood=side)
    head = fit_gaussian(train, config)
    assert head.mean.shape == (3, 4, 6)
    assert head.whitening.shape == (3, 4, 3, 3, 3)
    reach = side // 2

    def samples(i, j):
        found = []
        for image in train.double().numpy():
            for di in range(-reach, reach + 1):
                for dj in range(-reach, reach + 1):
                    found.append(image[min(max(i + di, 0), 2), min(max(j + dj, 0), 3)])
        return np.array(found)

    expected = naive_scores(train, test, config, lambda i, j: samples(i, j).mean(0), samples)
    np.testing.assert_allclose(head.score(test), expected, rtol=1e-3)  # the whitening is rounded to float16


def test_three_quarters_of_a_matrix_score_as_the_whole():
    generator = torch.Generator().manual_seed(0)
    whole = torch.randn(3, 4, 6, 6, generator=generator).tril()
    mean, test = torch.randn(3, 4, 6, generator=generator), torch.randn(5, 3, 4, 6, generator=generator)
    quarters = torch.from_numpy(without_zeros(whole.numpy()))
    assert quarters.shape == (3, 4, 3, 3, 3)
    found, expected = GaussianHead(mean, quarters), GaussianHead(mean, whole)
    torch.testing.assert_close(found.score(test), expected.score(test))
    torch.testing.assert_close(found.gradient(test), expected.gradient(test))


def test_a_rank_deficient_set_is_legal():
    head = fit_gaussian(features(n=4, dim=20), HeadConfig(dim=20, neighbourhood=1))
    assert torch.isfinite(head.whitening).all()


def test_a_singular_covariance_is_refused_with_advice():
    flat = torch.ones(10, 2, 2, 3)
    with pytest.raises(ValueError, match="singular at 4 of 4 positions"):
        fit_gaussian(flat, HeadConfig(dim=3, neighbourhood=1))


def test_the_neighbourhood_grows_as_images_get_few():
    config = HeadConfig(dim=100)
    assert [config.samples_side(n) for n in (500, 200, 199, 23, 22)] == [1, 1, 3, 3, 5]
    assert HeadConfig(neighbourhood=3).samples_side(5000) == 3
    with pytest.raises(ValueError, match="odd"):
        HeadConfig(neighbourhood=2)


def test_the_floor_bounds_what_rounding_can_do():
    """At positions where nothing varies, a change of a thousandth of the usual spread scores next to nothing."""
    train = features()
    train[:, 0, 0] = train[0, 0, 0]
    spread = train.double().var((0, 1, 2), correction=0).mean().sqrt().float()
    nudged = train[:1].clone()
    nudged[0, 0, 0, 2] += 1e-3 * spread
    with_floor = fit_gaussian(train, HeadConfig(dim=6, neighbourhood=1))
    assert float(with_floor.score(nudged)[0, 0, 0]) == pytest.approx(1e-6 / HeadConfig().floor, rel=1e-2)
    with pytest.raises(ValueError, match="singular"):
        fit_gaussian(train, HeadConfig(dim=6, neighbourhood=1, floor=0))


@pytest.mark.parametrize("regulariser", ["low-rank", "low-variance"])
@pytest.mark.parametrize("scope", ["shared", "per-position", "position-mean"])
def test_kept_directions_are_those_of_each_position(regulariser, scope):
    """A position's matrix is what its samples alone give."""
    train, test = features(), features(5, seed=1)
    config = HeadConfig(dim=6, regulariser=regulariser, components=2, neighbourhood=1, floor=0, scope=scope)
    head = fit_gaussian(train, config)
    rows = 6 if regulariser == "low-rank" else 2
    assert head.whitening.shape == ((3, 4) if scope == "per-position" else (1, 1)) + (rows, 6)
    if scope == "per-position":
        alone = fit_gaussian(train[:, 1:2, 2:3], config)
        torch.testing.assert_close(head.score(test)[:, 1, 2], alone.score(test[:, 1:2, 2:3])[:, 0, 0])
    distances = head.score(train).mean() / rows
    # Whitened samples have variance one in each direction; those that share a variance have it in the mean, and
    # shrinking moves a little between the others.
    assert 0.8 < float(distances) < 1.2


def test_components_that_leave_no_variance_are_told():
    """Three images span two directions; nothing is left for the others but the floor."""
    few = features(n=3, rows=1, columns=1)
    config = HeadConfig(dim=6, regulariser="low-rank", components=4, scope="shared")
    assert torch.isfinite(fit_gaussian(few, config).whitening).all()
    with pytest.raises(Unfit, match="regulariser=low-rank") as caught:
        fit_gaussian(few, config.model_copy(update={"floor": 0}))
    assert "head.floor" in caught.value.advice


REGION = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]], bool)


@pytest.mark.parametrize("scope", ["shared", "per-position", "position-mean"])
def test_a_region_has_a_head_of_one_row(scope):
    """Its positions in the order of the rows; a position's Gaussian is that of the whole grid."""
    train, test = features(), features(5, seed=1)
    config = HeadConfig(dim=6, scope=scope)
    head = fit_gaussian(train, config, REGION)
    positions = 5 if scope == "per-position" else 1
    assert head.mean.shape == (1, 1 if scope == "shared" else 5, 6)
    assert head.whitening.shape == (1, positions, *((3, 3, 3) if scope == "per-position" else (6, 6)))
    scores = head.score(test[:, torch.from_numpy(REGION)].unsqueeze(1))
    assert scores.shape == (5, 1, 5)
    if scope == "per-position":
        whole = fit_gaussian(train, config).score(test)[:, torch.from_numpy(REGION)]
        torch.testing.assert_close(scores[:, 0], whole)


@pytest.mark.parametrize("region", [None, REGION], ids=["whole", "region"])
def test_a_standardised_head_scores_as_its_scale_does(region):
    train, test = features(), features(5, seed=1)
    plain = fit_gaussian(train, HeadConfig(dim=6), region)
    if region is not None:
        test = test[:, torch.from_numpy(region)].unsqueeze(1)
    generator = np.random.default_rng(0)
    shape = tuple(test.shape[1:3])
    scale = LogScale(generator.uniform(1, 4, shape), generator.uniform(0.1, 1, shape))
    head = fit_gaussian(train, HeadConfig(dim=6), region, scale)
    assert isinstance(head, StandardisedGaussianHead)
    assert head.log_mean.shape == head.log_deviation.shape == shape
    np.testing.assert_allclose(head.score(test), scale.apply(plain.score(test).double().numpy()), rtol=1e-4, atol=1e-4)
    # The most normal of all scores: nothing is below it.
    best = float(head.score(plain.mean.expand(*shape, 6).unsqueeze(0)).max())
    assert best == pytest.approx(float(np.maximum(OFFSET - scale.mean / scale.deviation, 0).max()), abs=1e-4)

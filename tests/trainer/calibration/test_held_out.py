"""Scores of images by heads that did not see them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from edge_occ.bundle.conformal import calibrate
from edge_occ.bundle.fusion import one_score_a_part
from edge_occ.bundle.standardise import log_scale
from edge_occ.common.progress import ProgressReport
from trainer.calibration import held_out
from trainer.calibration.held_out import Shots, folds_of, held_out_scores, standardised
from trainer.config import HeadConfig
from trainer.heads.base import Unfit
from trainer.heads.build import fit_head, inside

REGION = np.array([[1, 0, 1], [0, 1, 1]], bool)
RIDGE = HeadConfig(dim=4, regulariser="ridge", ridge=0.1, floor=0, neighbourhood=3)
EACH = pytest.mark.parametrize("region", [None, REGION], ids=["whole", "region"])


def some_features(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixing, offsets = torch.randn(4, 4, generator=generator), torch.randn(2, 3, 4, generator=generator)
    return torch.randn(n, 2, 3, 4, generator=generator) @ mixing + offsets


@given(n=st.integers(2, 300), folds=st.integers(2, 20), seed=st.integers(0, 2**31))
def test_folds_are_of_one_size_and_hold_every_image_once(n, folds, seed):
    fold_of = folds_of(n, folds, seed)
    sizes = torch.bincount(fold_of)
    assert fold_of.shape == (n,)
    assert len(sizes) == min(n, folds)
    assert int(sizes.max()) - int(sizes.min()) <= 1
    assert torch.equal(fold_of, folds_of(n, folds, seed))


def test_folds_are_drawn_by_the_seed():
    assert not torch.equal(folds_of(50, 5, 0), folds_of(50, 5, 1))


@given(shots=st.lists(st.integers(1, 5), min_size=2, max_size=30), folds=st.integers(2, 10), seed=st.integers(0, 2**31))
def test_shots_of_one_part_are_in_one_fold_and_count_once(shots, folds, seed):
    parts = torch.arange(len(shots)).repeat_interleave(torch.tensor(shots))
    parts = parts[torch.randperm(len(parts), generator=torch.Generator().manual_seed(seed))]
    found = Shots.of(parts, folds, seed)
    assert torch.equal(found.parts, parts)
    assert torch.equal(found.fold_of, folds_of(len(shots), folds, seed))
    scores = np.random.default_rng(seed).random(len(parts))
    expected = [max(s for s, part in zip(scores, parts.tolist(), strict=True) if part == k) for k in range(len(shots))]
    assert one_score_a_part(scores, parts.numpy()).tolist() == expected


def test_the_guarantee_holds_with_shots_of_the_same_parts():
    """Simulated: a score is mostly the part's own, and little of it the shot's; further parts are seen once."""
    generator = np.random.default_rng(0)
    parts, rate = np.repeat(np.arange(60), generator.integers(1, 12, 60)), 0.05
    true_rates = []
    for _ in range(2000):
        scores = generator.normal(size=60)[parts] + 0.1 * generator.normal(size=len(parts))
        calibration = calibrate(one_score_a_part(scores, parts), rate)
        assert calibration.n == 60
        true_rates.append(norm.sf(calibration.threshold, scale=np.sqrt(1.01)))
    assert 0.6 * calibration.expected < np.mean(true_rates) < calibration.expected
    assert np.mean(np.array(true_rates) <= calibration.upper_95) > 0.95


@EACH
@pytest.mark.parametrize("scope", ["shared", "per-position", "position-mean"])
def test_a_gaussian_is_the_one_fitted_without_the_part(scope, region):
    """A ridge does not depend on the images, so that the closed form is a refit."""
    features, parts = some_features(9), torch.tensor([0, 0, 1, 2, 3, 3, 3, 4, 5])
    config = RIDGE.model_copy(update={"scope": (scope,)})
    found = held_out_scores(features, config, Shots.of(parts, 2, 0), region)
    assert found.dtype == torch.float32
    assert found.shape == ((9, 2, 3) if region is None else (9, 1, 4))
    for image, part in enumerate(parts.tolist()):
        head = fit_head(features[parts != part], config, region)
        torch.testing.assert_close(
            found[image], head.score(inside(features[image : image + 1], region))[0], rtol=1e-4, atol=1e-5
        )


FOLDED = [
    HeadConfig(dim=4, kind="knn", scope="shared"),
    HeadConfig(dim=4, kind="kde", scope="shared"),
    HeadConfig(dim=4, regulariser="low-rank", components=2, neighbourhood=1),
]


@EACH
@pytest.mark.parametrize("config", FOLDED, ids=["knn", "kde", "low-rank"])
def test_other_heads_are_fitted_without_the_fold_of_the_part(config, region):
    features, parts = some_features(12), torch.tensor([3, 0, 0, 1, 2, 3, 4, 4, 1, 2, 5, 5])
    shots = Shots.of(parts, 3, 1)
    found = held_out_scores(features, config, shots, region)
    for image, part in enumerate(parts.tolist()):
        others = [k for k, other in enumerate(parts.tolist()) if shots.fold_of[other] != shots.fold_of[part]]
        head = fit_head(features[others], config, region)
        expected = head.score(inside(features[image : image + 1], region))[0]
        torch.testing.assert_close(found[image], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [RIDGE, FOLDED[0]], ids=["gaussian", "knn"])
def test_other_images_are_scored_without_the_part_that_they_name(config):
    features, others, parts = some_features(8), some_features(5, 1), torch.arange(8) // 2
    shots, left_out = Shots.of(parts, 4, 0), torch.tensor([3, 0, 1, 0, 2])
    found = held_out_scores(features, config, shots, scored=others, left_out=left_out)
    for image, part in enumerate(left_out.tolist()):
        head = fit_head(features[parts != part], config)  # as many folds as parts
        torch.testing.assert_close(found[image], head.score(others[image : image + 1])[0], rtol=1e-4, atol=1e-5)
    # Without names they are the first normal images in another precision.
    unnamed = held_out_scores(features, config, shots, scored=others)
    named = held_out_scores(features, config, shots, scored=others, left_out=parts[:5])
    assert torch.equal(unnamed, named)


@EACH
def test_scores_are_standardised_by_those_of_the_other_parts(region):
    features, parts = some_features(12), torch.arange(12) // 2
    shots = Shots.of(parts, 3, 0)
    normal = held_out_scores(features, RIDGE, shots, region)
    changed, left_out = 3 * normal[:4], torch.tensor([5, 1, 1, 2])
    found, scale = standardised(normal, shots, region, changed, left_out)
    whole = log_scale(normal.double().numpy(), region)
    np.testing.assert_allclose(scale.mean, whole.mean)
    np.testing.assert_allclose(scale.deviation, whole.deviation)
    for image, part in enumerate(left_out.tolist()):
        own = log_scale(normal[parts != part].double().numpy(), region)
        expected = own.apply(changed[image : image + 1].double().numpy())[0]
        np.testing.assert_allclose(found[image], expected, rtol=1e-5, atol=1e-5)
    themselves, _ = standardised(normal, shots, region, normal)
    own = log_scale(normal[parts != 0].double().numpy(), region)
    np.testing.assert_allclose(themselves[:2], own.apply(normal[:2].double().numpy()), rtol=1e-5, atol=1e-5)


def test_features_outside_the_region_are_left_out():
    features = some_features(3)
    assert inside(features, None) is features
    found = inside(features, REGION)
    assert found.shape == (3, 1, 4, 4)
    for k, (row, column) in enumerate([(0, 0), (0, 2), (1, 1), (1, 2)]):
        assert torch.equal(found[:, 0, k], features[:, row, column])


def test_features_that_no_gaussian_fits_are_told_with_advice():
    with pytest.raises(Unfit, match="singular") as caught:
        held_out_scores(torch.ones(6, 2, 3, 4), HeadConfig(dim=4, floor=0), Shots.of(torch.arange(6), 3, 0))
    assert "head.floor" in caught.value.advice


@pytest.mark.parametrize("config", [RIDGE, FOLDED[0]], ids=["gaussian", "knn"])
def test_a_head_advances_the_progress_once(config, monkeypatch):
    steps = []
    monkeypatch.setattr(ProgressReport, "advance", lambda self, note="": steps.append(1))
    with ProgressReport("calibrating", 1) as progress:
        held_out_scores(some_features(6), config, Shots.of(torch.arange(6), 3, 0), progress=progress)
    assert len(steps) == 1


def test_a_gaussian_is_not_refitted(monkeypatch):
    monkeypatch.setattr(held_out, "fit_head", None)
    held_out_scores(some_features(6), RIDGE, Shots.of(torch.arange(6), 3, 0))


@EACH
def test_a_trimmed_gaussian_is_scored_by_folds(region):
    """It has no closed form: each image is scored by a head that is fitted on the other folds."""
    features, config = some_features(24), HeadConfig(dim=4, scope="per-position", neighbourhood=1, trim=0.2)
    shots = Shots.of(torch.arange(24), 4, 0)
    found = held_out_scores(features, config, shots, region)
    for fold in range(4):
        of_fold = shots.fold_of == fold
        head = fit_head(features[~of_fold], config, region)
        torch.testing.assert_close(found[of_fold], head.score(inside(features[of_fold], region)))

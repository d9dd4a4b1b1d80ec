"""Scores of images by heads that did not see them."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from edge_occ.bundle.conformal import calibrate
from edge_occ.common.progress import ProgressReport
from trainer.calibration.held_out import folds_of, folds_of_parts, held_out_grids, one_score_a_part


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
    fold_of = folds_of_parts(parts, folds, seed)
    of_parts = folds_of(len(shots), folds, seed)
    assert all(fold_of[i] == of_parts[part] for i, part in enumerate(parts.tolist()))
    scores = np.random.default_rng(seed).random(len(parts))
    expected = [max(s for s, part in zip(scores, parts.tolist(), strict=True) if part == k) for k in range(len(shots))]
    assert one_score_a_part(scores, parts).tolist() == expected


@given(n=st.integers(2, 300), folds=st.integers(2, 20), seed=st.integers(0, 2**31))
def test_where_every_image_shows_another_part_nothing_changes(n, folds, seed):
    parts, scores = torch.arange(n), np.random.default_rng(seed).random(n)
    assert torch.equal(folds_of_parts(parts, folds, seed), folds_of(n, folds, seed))
    assert np.array_equal(one_score_a_part(scores, parts), scores)


def test_the_guarantee_holds_with_shots_of_the_same_parts():
    """Simulated: a score is mostly the part's own, and little of it the shot's; further parts are seen once."""
    generator = np.random.default_rng(0)
    parts, rate = np.repeat(np.arange(60), generator.integers(1, 12, 60)), 0.05
    true_rates = []
    for _ in range(2000):
        scores = generator.normal(size=60)[parts] + 0.1 * generator.normal(size=len(parts))
        calibration = calibrate(one_score_a_part(scores, torch.from_numpy(parts)), rate)
        assert calibration.n == 60
        true_rates.append(norm.sf(calibration.threshold, scale=np.sqrt(1.01)))
    assert 0.6 * calibration.expected < np.mean(true_rates) < calibration.expected
    assert np.mean(np.array(true_rates) <= calibration.upper_95) > 0.95


def test_every_image_is_scored_once_by_a_head_that_did_not_see_it():
    features = torch.arange(23.0).view(23, 1, 1, 1).expand(23, 2, 3, 1)
    seen = []

    def score(train, held_out):
        assert not set(train.flatten().tolist()) & set(held_out.flatten().tolist())
        assert len(train) + len(held_out) == 23
        seen.extend(held_out[:, 0, 0, 0].tolist())
        return held_out.squeeze(3) * 10

    grids = held_out_grids(features, folds_of(23, 5, 0), score)
    assert sorted(seen) == list(range(23))
    assert torch.equal(grids, features.squeeze(3) * 10)


def test_more_folds_than_images_is_leaving_one_out():
    sizes = []
    held_out_grids(
        torch.zeros(4, 1, 1, 1), folds_of(4, 10, 0), lambda train, held: sizes.append(len(held)) or held.squeeze(3)
    )
    assert sizes == [1, 1, 1, 1]


def test_other_features_of_the_same_images_are_scored_by_the_same_heads():
    def score(train, held):
        return held.squeeze(3) - train.mean()

    features, fold_of = torch.arange(12.0).view(12, 1, 1, 1), folds_of(12, 4, 0)
    found = held_out_grids(features, fold_of, score, features + 100)
    torch.testing.assert_close(found, held_out_grids(features, fold_of, score) + 100)


def test_every_fold_advances_the_progress(monkeypatch):
    steps = []
    monkeypatch.setattr(ProgressReport, "advance", lambda self, note="": steps.append(1))
    with ProgressReport("calibrating", 4) as progress:
        held_out_grids(
            torch.zeros(9, 1, 1, 1), folds_of(9, 4, 0), lambda train, held: held.squeeze(3), progress=progress
        )
    assert len(steps) == 4

"""Several heads, fitted, fused and calibrated together, against refits without each part.

Gaussians have a ridge, which does not depend on the images, so that leaving one out in closed form is a refit.
"""

import math

import numpy as np
import pytest
import torch

from edge_occ.bundle.sample_grid import Scope
from edge_occ.bundle.standardise import log_scale
from edge_occ.bundle.tensors import head_from
from edge_occ.common.errors import InputError
from engines.base import HEADS
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.calibration.held_out import folds_of, inside
from trainer.config import HeadConfig, HeadKind, TrainConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.graph.branches import PatchBranch
from trainer.heads.build import fit_head

IMAGES, RATE, SEED = 40, 0.1, 3
RIDGE = {"regulariser": "ridge", "ridge": 0.1, "floor": 0}
BRANCH = {"encoder": {"width": 4, "dim": 16}, "head": {"dim": 8, "scope": ["shared", "per-position"], **RIDGE}}
MASK = np.zeros((96, 96), bool)
MASK[30:50, 20:70] = True


def settings(**changes):
    config = {
        **BRANCH,
        "input": {"size": 96},
        "further_branches": [{**BRANCH, "head": {"dim": 4, "scope": "shared", **RIDGE}, "map": {"image_score": "top"}}],
        "calibration": {"folds": 4, "false_alarm_rate": RATE},
    }
    return TrainConfig.model_validate({**config, **changes})


def branches(config, mask=None):
    torch.manual_seed(0)
    return [PatchBranch(DensePatchEncoder(8, 4, 16).eval(), branch, (96, 96), mask) for branch in config.branches]


def some_features(*dims):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(IMAGES, 5, 5, d, generator=generator) @ torch.randn(d, d, generator=generator)
        + torch.randn(5, 5, d, generator=generator)
        for d in dims
    ]


def places(config):
    """Each head: its branch, its place among the branch's heads, and its settings."""
    return [(i, k, own) for i, branch in enumerate(config.branches) for k, own in enumerate(branch.head.each)]


def refits(features, own, parts, region=None):
    """Scores of positions ``[n, ...]``, each by the head fitted without the image's part, in a loop."""
    scores = [
        fit_head(features[parts != part], own, region).score(inside(features[k : k + 1], region))[0]
        for k, part in enumerate(parts.tolist())
    ]
    return torch.stack(scores)


def naive(config, made, features, parts=None):
    """Scores ``[heads, n]`` and maps ``[heads, n, 96, 96]``, each image by heads fitted without its part."""
    parts = torch.arange(IMAGES) if parts is None else parts
    scores, maps = [], []
    for i, k, own in places(config):
        grid = refits(features[i], own, parts, made[i].region(k))
        scores.append(made[i].score(grid, k))
        maps.append(made[i].maps(grid, k))
    return torch.stack(scores), torch.stack(maps)


@pytest.fixture(scope="module")
def several():
    config = settings(fusion={"score_weights": [1, 2, 1], "map_weights": [3, 0, 1]})
    parts, features = branches(config), some_features(8, 4)
    return config, parts, features, HeadCalibrator(parts, config, SEED).fit(features), naive(config, parts, features)


def test_every_image_is_scored_by_heads_that_had_not_seen_it(several):
    _, _, _, fitted, (scores, _) = several
    spread = scores.double().numpy().std(1)
    expected = sum(
        weight * score / s for weight, score, s in zip((0.25, 0.5, 0.25), scores.numpy(), spread, strict=True)
    )
    np.testing.assert_allclose(fitted.held_out, expected, rtol=1e-4)
    assert fitted.calibration.n == IMAGES
    assert fitted.calibration.threshold == np.sort(fitted.held_out)[math.ceil((IMAGES + 1) * (1 - RATE)) - 1]
    np.testing.assert_allclose(fitted.head.score_weights, [0.25, 0.5, 0.25] / spread, rtol=1e-4)


def test_the_heads_that_are_kept_have_seen_all_images(several):
    config, _, features, fitted, _ = several
    for part, (i, own) in zip(fitted.head.parts, config.heads, strict=True):
        expected = fit_head(features[i], own).tensors()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in part.tensors().items())


@pytest.mark.parametrize("kind", ["kde", "ocsvm", "ocsvm-linear", "nearest", "knn"])
def test_a_head_of_any_kind_beside_a_gaussian(kind):
    own = {"dim": 8, "scope": "shared", "kind": kind, "references": 100}
    config = settings(head=own, calibration={"folds": 2, "false_alarm_rate": RATE})
    parts, features = branches(config), some_features(8, 4)
    fitted = HeadCalibrator(parts, config, SEED).fit(features)
    expected, fold_of = np.zeros(IMAGES), folds_of(IMAGES, 2, SEED)
    for i, alone in config.heads:
        left_out = fold_of if i == 0 else torch.arange(IMAGES)  # a Gaussian leaves out the image alone
        scores = parts[i].score(refits(features[i], alone, left_out), 0).double().numpy()
        expected += 0.5 * scores / scores.std()
    np.testing.assert_allclose(fitted.held_out, expected, rtol=1e-4)
    assert set(head_from(fitted.member)[0]) == {*HEADS[kind], "mean.1", "whitening.1", "score_weights", "map_weights"}


def test_heads_of_other_kinds_on_the_same_features():
    """One for the image score and another for the map: what each gives is what it gives alone."""
    own = {"dim": 8, "scope": ["per-position", "shared"], "references": 100}
    fusion = {"score_weights": [0, 1, 0, 0], "map_weights": [0, 0, 1, 0]}
    config = settings(head={**own, "further_kinds": ["knn", "kde"]}, further_branches=[], fusion=fusion)
    assert config.head.kinds == ("gaussian", "gaussian", "knn", "kde")
    parts, features = branches(config), some_features(8)
    fitted = HeadCalibrator(parts, config, SEED).fit(features)
    one_each: list[tuple[HeadKind, Scope]] = [
        ("gaussian", "per-position"),
        ("gaussian", "shared"),
        ("knn", "shared"),
        ("kde", "shared"),
    ]
    for part, (kind, scope) in zip(fitted.head.parts, one_each, strict=True):
        expected = fit_head(features[0], HeadConfig(dim=8, kind=kind, scope=(scope,), references=100)).tensors()
        assert part.tensors().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in part.tensors().items())
    alone = settings(head={**own, "scope": "shared"}, further_branches=[])
    score = HeadCalibrator(parts, alone, SEED).fit(features).held_out
    np.testing.assert_allclose(fitted.held_out, score / score.std(), rtol=1e-4)
    np.testing.assert_array_equal(fitted.head.map_weights.numpy() > 0, [False, False, True, False])


def test_fused_maps_exceed_the_threshold_as_often_as_declared(several):
    _, _, _, fitted, (_, maps) = several
    weights = fitted.head.map_weights
    assert weights[1] == 0
    fused = sum(weight * own for weight, own in zip(weights, maps, strict=True))
    threshold = fitted.calibration.threshold
    peaks = np.sort(fused.amax((1, 2)).double().numpy()) / threshold
    rank = math.ceil((IMAGES + 1) * (1 - RATE))
    assert peaks[rank - 1] == pytest.approx(1, rel=1e-4)
    assert (peaks > 1.0001).sum() == IMAGES - rank == 3


def test_shots_of_one_part_are_held_out_together_and_give_one_score():
    config, features = settings(), some_features(8, 4)
    parts = [i // 2 for i in range(IMAGES)]
    shots = [part[::2].repeat_interleave(2, 0) + 0.01 * part for part in features]
    made = branches(config)
    calibrator = HeadCalibrator(made, config, SEED, parts)
    fitted = calibrator.fit(shots)
    scores = naive(config, made, shots, torch.tensor(parts))[0].double().numpy()
    fused = sum(score / score.std() / 3 for score in scores)
    np.testing.assert_allclose(fitted.held_out, fused.reshape(-1, 2).max(1), rtol=1e-4)
    assert fitted.calibration.n == IMAGES // 2
    assert fitted.calibration.threshold == np.sort(fitted.held_out)[math.ceil((IMAGES // 2 + 1) * (1 - RATE)) - 1]
    assert np.array_equal(head_from(fitted.member)[1], fitted.held_out)
    np.testing.assert_allclose(calibrator.held_out(shots, shots, fitted.head), fitted.held_out, rtol=1e-5)


def test_units_of_a_head_do_not_count():
    config, features = settings(), some_features(8, 4)
    plain, loud = branches(config), branches(config)
    loud[1].score_maps[0].get_buffer("down").mul_(100)  # scores and maps of this branch are 100 times as high
    expected, found = (HeadCalibrator(parts, config, SEED).fit(features) for parts in (plain, loud))
    np.testing.assert_allclose(found.held_out, expected.held_out, rtol=1e-4)
    assert found.calibration.threshold == pytest.approx(expected.calibration.threshold, rel=1e-4)
    by = torch.tensor([1.0, 1.0, 100.0])
    torch.testing.assert_close(found.head.score_weights * by, expected.head.score_weights, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.head.map_weights * by, expected.head.map_weights, rtol=1e-4, atol=0)


def test_without_weights_heads_count_alike():
    config, features = settings(), some_features(8, 4)
    fitted = HeadCalibrator(branches(config), config, SEED).fit(features)
    same = settings(fusion={"score_weights": [7, 7, 7], "map_weights": [2, 2, 2]})
    expected = HeadCalibrator(branches(same), same, SEED).fit(features)
    np.testing.assert_allclose(fitted.held_out, expected.held_out, rtol=1e-6)
    torch.testing.assert_close(fitted.head.map_weights, expected.head.map_weights)


def test_one_head_alone_is_left_as_it_is():
    config = settings(head={"dim": 8, "scope": "shared", **RIDGE}, further_branches=[])
    parts, features = branches(config), some_features(8)
    fitted = HeadCalibrator(parts, config, SEED).fit(features)
    scores, _ = naive(config, parts, features)
    np.testing.assert_allclose(fitted.held_out, scores[0], rtol=1e-4)
    assert list(fitted.head.tensors()) == ["mean", "whitening"]
    assert set(head_from(fitted.member)[0]) == {"mean", "whitening"}
    assert np.array_equal(head_from(fitted.member)[1], fitted.held_out)


def test_another_precision_is_scored_by_the_same_heads(several):
    config, parts, features, fitted, _ = several
    calibrator = HeadCalibrator(parts, config, SEED)
    np.testing.assert_allclose(calibrator.held_out(features, features, fitted.head), fitted.held_out, rtol=1e-5)
    changed = [features[0].clone(), features[1]]
    changed[0][5] += 1
    found = calibrator.held_out(features, changed, fitted.head)
    assert found[5] > 1.01 * fitted.held_out[5]
    # Had heads been fitted on the changed image, others would move too.
    np.testing.assert_allclose(np.delete(found, 5), np.delete(fitted.held_out, 5), rtol=1e-5)


def test_features_that_never_vary_are_refused():
    config = settings(head={"dim": 8, "scope": "shared", "floor": 0}, further_branches=[])
    with pytest.raises(InputError, match="singular"):
        HeadCalibrator(branches(config), config, SEED).fit([torch.ones(IMAGES, 5, 5, 8)])


@pytest.mark.parametrize("kind", ["kde", "ocsvm", "ocsvm-linear", "nearest", "knn"])
def test_every_kind_refuses_features_that_never_vary(kind):
    config = settings(head={"dim": 8, "scope": "shared", "kind": kind}, further_branches=[])
    with pytest.raises(InputError, match="features that are all the same") as caught:
        HeadCalibrator(branches(config), config, SEED).fit([torch.ones(IMAGES, 5, 5, 8)])
    assert "--seed" in caught.value.advice


def test_changed_copies_are_further_shots_of_their_parts():
    """Heads are fitted on them, as many neighbours are pooled as for the images alone, and scores are pooled."""
    config, features = settings(head={"dim": 24, "scope": ["shared", "per-position"], **RIDGE}), some_features(24, 4)
    assert config.head.samples_side(IMAGES) == 3 > config.head.samples_side(2 * IMAGES) == 1
    parts = [i // 2 for i in range(IMAGES)]
    copies = [1.05 * block + 0.02 * block.roll(1, 0) for block in features]
    both = [torch.cat(pair) for pair in zip(features, copies, strict=True)]
    made = branches(settings())
    calibrator = HeadCalibrator(made, config, SEED, parts)
    fitted = calibrator.fit(both)
    scores = []
    for i, k, own in places(config):
        pooled = own.model_copy(update={"neighbourhood": own.samples_side(IMAGES)})
        grid = refits(both[i], pooled, torch.tensor(parts).repeat(2))
        scores.append(made[i].score(grid, k).double().numpy())
    fused = sum(score / score.std() / 3 for score in scores)
    shots = fused.reshape(2, IMAGES // 2, 2)
    np.testing.assert_allclose(fitted.held_out, np.sort(shots.max(2), None)[::-2], rtol=1e-4)
    np.testing.assert_allclose(fitted.as_taken, shots[0].max(1), rtol=1e-4)
    assert fitted.held_out.max() > 1.001 * fitted.as_taken.max()
    assert fitted.calibration.n == IMAGES // 2
    # Another precision of the images alone is scored by the same heads.
    np.testing.assert_allclose(calibrator.held_out(both, features, fitted.head), fitted.as_taken, rtol=1e-5)


def test_without_copies_the_images_as_taken_are_all_there_is(several):
    _, _, _, fitted, _ = several
    np.testing.assert_array_equal(fitted.as_taken, fitted.held_out)


@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "region"])
def test_standardised_heads_and_heads_of_a_region(mask):
    """Each part is standardised by the scores of the others; the head that is kept, by those of all."""
    own = {"scope": ["per-position", "per-position", "position-mean"], "standardise": [True, False, True]}
    config = settings(head={"dim": 8, **own, "in_region": [True, True, False], **RIDGE}, further_branches=[])
    made, features, parts = branches(config, mask), some_features(8), torch.arange(IMAGES) // 2
    fitted = HeadCalibrator(made, config, SEED, parts.tolist()).fit(features)
    assert [made[0].region(k) is None for k in range(3)] == ([True] * 3 if mask is None else [False, False, True])
    fused = np.zeros(IMAGES)
    for (_, k, alone), head in zip(places(config), fitted.head.parts, strict=True):
        region = made[0].region(k)
        grid = refits(features[0], alone, parts, region)
        tensors = head.tensors()
        assert tuple(tensors["mean"].shape) == (*grid.shape[1:], 8)
        if alone.standardise[0]:
            raw = grid.double().numpy()
            scale = log_scale(raw, region)
            np.testing.assert_allclose(tensors["log_mean"], scale.mean, rtol=1e-4)
            np.testing.assert_allclose(tensors["log_deviation"], scale.deviation, rtol=1e-3)
            for part in range(IMAGES // 2):
                of = (parts == part).numpy()
                grid[of] = torch.from_numpy(log_scale(raw[~of], region).apply(raw[of])).float()
        else:
            assert set(tensors) == {"mean", "whitening"}
        scores = made[0].score(grid, k).double().numpy()
        fused += scores / scores.std() / 3
    np.testing.assert_allclose(fitted.held_out, fused.reshape(-1, 2).max(1), rtol=1e-4)
    standardised = {"log_mean", "log_deviation", "log_mean.2", "log_deviation.2"}
    assert standardised < set(head_from(fitted.member)[0])
    again = HeadCalibrator(made, config, SEED, parts.tolist()).held_out(features, features, fitted.head)
    np.testing.assert_allclose(again, fitted.held_out, rtol=1e-5)

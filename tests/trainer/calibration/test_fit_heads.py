"""Several heads, fitted, fused and calibrated together, against loops over folds and heads."""

import math

import numpy as np
import pytest
import torch

from edge_occ.bundle.tensors import head_from, held_out_from
from edge_occ.common.errors import InputError
from engines.base import HEADS
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.calibration.held_out import folds_of
from trainer.config import HeadConfig, TrainConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.graph.branches import PatchBranch
from trainer.heads.build import fit_head

IMAGES, RATE, SEED = 40, 0.1, 3
BRANCH = {"encoder": {"width": 4, "dim": 16}, "head": {"dim": 8, "scope": ["shared", "per-position"]}}


def settings(**changes):
    config = {
        **BRANCH,
        "input": {"size": 96},
        "further_branches": [{**BRANCH, "head": {"dim": 4, "scope": "shared"}, "map": {"image_score": "top"}}],
        "calibration": {"folds": 4, "false_alarm_rate": RATE},
    }
    return TrainConfig.model_validate({**config, **changes})


def branches(config):
    torch.manual_seed(0)
    return [PatchBranch(DensePatchEncoder(8, 4, 16).eval(), branch, 96) for branch in config.branches]


def some_features(*dims):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(IMAGES, 5, 5, d, generator=generator) @ torch.randn(d, d, generator=generator)
        + torch.randn(5, 5, d, generator=generator)
        for d in dims
    ]


def naive(config, parts, features):
    """Scores ``[heads, n]`` and maps ``[heads, n, size, size]``, each image by heads fitted on the other folds."""
    fold_of = folds_of(IMAGES, 4, SEED)
    scores, maps = [], []
    for i, own in config.heads:
        own_scores, own_maps = torch.empty(IMAGES), torch.empty(IMAGES, 96, 96)
        for image in range(IMAGES):
            others = [k for k in range(IMAGES) if fold_of[k] != fold_of[image]]
            head = fit_head(features[i][others], own, own.scope[0])
            own_scores[image], own_maps[image] = (
                x[0] for x in parts[i].score_map(head.score(features[i][image : image + 1]))
            )
        scores.append(own_scores)
        maps.append(own_maps)
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
        expected = fit_head(features[i], own, own.scope[0]).tensors()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in part.tensors().items())


@pytest.mark.parametrize("kind", ["kde", "ocsvm", "ocsvm-linear", "nearest", "knn"])
def test_a_head_of_any_kind_beside_a_gaussian(kind):
    own = {"dim": 8, "scope": "shared", "kind": kind, "references": 100}
    config = settings(head=own, calibration={"folds": 2, "false_alarm_rate": RATE})
    parts, features = branches(config), some_features(8, 4)
    fitted = HeadCalibrator(parts, config, SEED).fit(features)
    expected, fold_of = np.zeros(IMAGES), folds_of(IMAGES, 2, SEED)
    for i, alone in config.heads:
        scores = torch.empty(IMAGES)
        for fold in (0, 1):
            head = fit_head(features[i][fold_of != fold], alone, alone.scope[0])
            scores[fold_of == fold] = parts[i].score(head.score(features[i][fold_of == fold]))
        expected += 0.5 * scores.double().numpy() / scores.double().numpy().std()
    np.testing.assert_allclose(fitted.held_out, expected, rtol=1e-4)
    assert set(head_from(fitted.member)) == {*HEADS[kind], "mean.1", "whitening.1", "score_weights", "map_weights"}


def test_heads_of_other_kinds_on_the_same_features():
    """One for the image score and another for the map: what each gives is what it gives alone."""
    own = {"dim": 8, "scope": ["per-position", "shared"], "references": 100}
    fusion = {"score_weights": [0, 1, 0, 0], "map_weights": [0, 0, 1, 0]}
    config = settings(head={**own, "further_kinds": ["knn", "kde"]}, further_branches=[], fusion=fusion)
    assert config.head.kinds == ("gaussian", "gaussian", "knn", "kde")
    parts, features = branches(config), some_features(8)
    fitted = HeadCalibrator(parts, config, SEED).fit(features)
    one_each = [("gaussian", "per-position"), ("gaussian", "shared"), ("knn", "shared"), ("kde", "shared")]
    for part, (kind, scope) in zip(fitted.head.parts, one_each, strict=True):
        expected = fit_head(features[0], HeadConfig(dim=8, kind=kind, scope=scope, references=100), scope).tensors()
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
    fold_of = folds_of(IMAGES // 2, 4, SEED).repeat_interleave(2)
    scores = []
    for i, own in config.heads:
        of_head = torch.empty(IMAGES)
        for fold in range(4):
            head = fit_head(shots[i][fold_of != fold], own, own.scope[0])
            of_head[fold_of == fold] = made[i].score(head.score(shots[i][fold_of == fold]))
        scores.append(of_head.double().numpy())
    fused = sum(score / score.std() / 3 for score in scores)
    np.testing.assert_allclose(fitted.held_out, fused.reshape(-1, 2).max(1), rtol=1e-4)
    assert fitted.calibration.n == IMAGES // 2
    assert fitted.calibration.threshold == np.sort(fitted.held_out)[math.ceil((IMAGES // 2 + 1) * (1 - RATE)) - 1]
    assert np.array_equal(held_out_from(fitted.member), fitted.held_out)
    np.testing.assert_allclose(calibrator.held_out(shots, shots, fitted.head), fitted.held_out, rtol=1e-5)


def test_units_of_a_head_do_not_count():
    config, features = settings(), some_features(8, 4)
    plain, loud = branches(config), branches(config)
    loud[1].score_map.down *= 100  # scores and maps of this branch are 100 times as high
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
    config = settings(head={"dim": 8, "scope": "shared"}, further_branches=[])
    parts, features = branches(config), some_features(8)
    fitted = HeadCalibrator(parts, config, SEED).fit(features)
    scores, _ = naive(config, parts, features)
    np.testing.assert_allclose(fitted.held_out, scores[0], rtol=1e-4)
    assert list(fitted.head.tensors()) == ["mean", "whitening"]
    assert set(head_from(fitted.member)) == {"mean", "whitening"}
    assert np.array_equal(held_out_from(fitted.member), fitted.held_out)


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
    with pytest.raises(InputError, match="features that are all the same") as told:
        HeadCalibrator(branches(config), config, SEED).fit([torch.ones(IMAGES, 5, 5, 8)])
    assert "--seed" in told.value.advice


def test_changed_copies_are_further_shots_of_their_parts():
    """Heads are fitted on them, neighbours are pooled as the images alone ask for, and each part gives one score."""
    config, features = settings(head={"dim": 8, "scope": ["shared", "per-position"]}), some_features(8, 4)
    parts = [i // 2 for i in range(IMAGES)]
    copies = [1.05 * block + 0.02 * block.roll(1, 0) for block in features]
    both = [torch.cat(pair) for pair in zip(features, copies, strict=True)]
    made = branches(config)
    calibrator = HeadCalibrator(made, config, SEED, parts)
    fitted = calibrator.fit(both)
    fold_of = folds_of(IMAGES // 2, 4, SEED).repeat_interleave(2).repeat(2)
    scores = []
    for i, own in config.heads:
        pooled = own.model_copy(update={"neighbourhood": own.samples_side(IMAGES)})
        of_head = torch.empty(2 * IMAGES)
        for fold in range(4):
            head = fit_head(both[i][fold_of != fold], pooled, own.scope[0])
            of_head[fold_of == fold] = made[i].score(head.score(both[i][fold_of == fold]))
        scores.append(of_head.double().numpy())
    fused = sum(score / score.std() / 3 for score in scores)
    shots = fused.reshape(2, IMAGES // 2, 2)
    np.testing.assert_allclose(fitted.held_out, shots.max((0, 2)), rtol=1e-4)
    np.testing.assert_allclose(fitted.as_taken, shots[0].max(1), rtol=1e-4)
    assert (fitted.held_out > 1.001 * fitted.as_taken).any()
    assert fitted.calibration.n == IMAGES // 2
    # Another precision of the images alone is scored by the same heads.
    np.testing.assert_allclose(calibrator.held_out(both, features, fitted.head), fitted.as_taken, rtol=1e-5)


def test_without_copies_the_images_as_taken_are_all_there_is(several):
    _, _, _, fitted, _ = several
    np.testing.assert_array_equal(fitted.as_taken, fitted.held_out)

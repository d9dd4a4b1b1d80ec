"""What is chosen by synthetic defects, on features whose worth is known beforehand."""

import shutil

import numpy as np
import pytest
import torch
from discs import TINY, part
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.nn import functional

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.errors import InputError
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.config import TrainConfig
from trainer.encoders.base import Encoder
from trainer.graph.alignment import alignment
from trainer.graph.branches import PatchBranch
from trainer.selection import model_selection as choosing
from trainer.selection.model_selection import choose, select_ensemble
from trainer.selection.proxy_benchmark import make_defects
from trainer.train import Job, train

CELL = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "none"}}
CHOICE = {"enabled": True, "images": 8, "sigmas": [4, 8]}


class Means(Encoder):
    """Mean colour of every cell of 8 pixels."""

    scales, stride, window = (3,), 8, 8

    def forward(self, image):
        return functional.avg_pool2d(image, 8)

    def centres(self, size):
        return torch.arange(size // 8, dtype=torch.float64) * 8 + 4


class Noise(Means):
    """Knows nothing of the image, and never says the same twice."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(9)

    def forward(self, image):
        return torch.randn(super().forward(image).shape, generator=self.generator)


def discs(n=16, aligned=True):
    """RGB discs ``[n, 3, 64, 64]``; not aligned, pieces of them lie about in any order."""
    pictures = np.stack([part(seed)[24:88, 24:88] for seed in range(n)])
    images = torch.from_numpy(pictures).flip(3).permute(0, 3, 1, 2)
    if not aligned:
        generator = torch.Generator().manual_seed(0)
        cells = functional.unfold(images.float(), 8, stride=8)
        cells = torch.stack([own[:, torch.randperm(64, generator=generator)] for own in cells])
        images = functional.fold(cells, 64, 8, stride=8).byte()
    return images.contiguous()


def chosen(images, encoders, config):
    config = TrainConfig.model_validate(config)
    branches = [PatchBranch(e.eval(), own, 64) for e, own in zip(encoders, config.branches, strict=True)]
    for branch in branches:
        branch.extractor.level(images)
    with torch.inference_mode():
        features = [branch.features(images.float()) for branch in branches]
    return branches, choose(branches, features, make_defects(images, 8, seed=1), config, seed=1)


@pytest.fixture(scope="module")
def beside_noise():
    config = {**CELL, "input": {"size": 64}, "beside": [{**CELL, "map": {"sigma": 5}}], "choice": CHOICE}
    return chosen(discs(), [Means(), Noise()], config)


def test_the_score_that_is_taken_is_no_worse_than_the_best_heads(beside_noise):
    _, choice = beside_noise
    record = choice.record
    assert record.aligned
    assert [c.scope for c in record.candidates] == ["per-position", "shared", "position-mean"] * 2
    assert sum(c.score_weight for c in record.candidates) == pytest.approx(1)
    assert sum(c.map_weight for c in record.candidates) == pytest.approx(1)
    for kind in ("image_auroc", "pixel_auroc"):
        seeing, noise = ([getattr(c, kind) for c in record.candidates[at : at + 3]] for at in (0, 3))
        assert max(noise) < 0.75 < 0.95 < max(seeing)
    assert record.image_auroc >= max(c.image_auroc for c in record.candidates)
    # The map of aligned parts is of one head of the branch that sees.
    assert [c.map_weight for c in record.candidates] == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("taken", "kept"), [(0, (0,)), (3, (1,))])
def test_a_branch_without_weight_is_dropped(taken, kept, monkeypatch):
    def select(members, objective):
        assert members == 6
        return tuple(float(k == taken) for k in range(members))

    monkeypatch.setattr(choosing, "select_ensemble", select)
    encoders = [Means(), Noise()] if taken == 0 else [Noise(), Means()]
    config = {**CELL, "input": {"size": 64}, "beside": [CELL], "choice": {**CHOICE, "aligned": 0}}
    branches, choice = chosen(discs(), encoders, config)
    assert choice.kept == kept
    assert choice.config.beside == ()
    assert [(i, own.scope) for i, own in choice.config.heads] == [(0, ("per-position",)), (0, ("position-mean",))]
    assert choice.config.fusion.score_weights == (1, 0)
    assert choice.config.fusion.map_weights == (0, 1)
    assert choice.record.image_auroc == choice.record.candidates[taken].image_auroc
    branch = branches[kept[0]]
    assert torch.equal(branch.score_map.spread, branch.score_map_with(choice.config.map).spread)


def test_the_settings_hold_what_was_taken_and_nothing_else(beside_noise):
    branches, choice = beside_noise
    config = choice.config
    assert TrainConfig.model_validate(config.model_dump()) == config
    taken = [c for c in choice.record.candidates if c.score_weight or c.map_weight]
    assert [own.scope for _, own in config.heads] == [(c.scope,) for c in taken]
    assert config.fusion.score_weights == tuple(c.score_weight for c in taken)
    assert config.fusion.map_weights == tuple(c.map_weight for c in taken)
    for candidate, (i, _) in zip(taken, config.heads, strict=True):
        own = config.branches[i].map
        assert (own.sigma, own.image_score) == (candidate.sigma, candidate.image_score)
    # Branches score with the smoothing that was chosen.
    for own, i in zip(config.branches, choice.kept, strict=True):
        expected = branches[i].score_map_with(own.map)
        assert torch.equal(branches[i].score_map.spread, expected.spread)
        assert branches[i].score_map.top == expected.top
    # What is not up for choice stays.
    assert (config.head.dim, config.head.floor, config.input.size) == (3, 0.05, 64)
    assert config.map.top_fraction == TrainConfig().map.top_fraction


@pytest.mark.parametrize("aligned", [True, False])
def test_calibration_takes_over_the_grids_of_the_choice(aligned):
    images = discs(aligned=aligned)
    config = {**CELL, "input": {"size": 64}, "beside": [{**CELL, "map": {"sigma": 5}}], "choice": CHOICE}
    branches, choice = chosen(images, [Means(), Means()], config)
    branches = [branches[i] for i in choice.kept]
    with torch.inference_mode():
        features = [branch.features(images.float()) for branch in branches]
    calibrator = HeadCalibrator(branches, choice.config, seed=1)
    for own, expected in zip(choice.grids, calibrator.grids(features), strict=True):
        torch.testing.assert_close(own, expected)
    calibrations = [calibrator.fit(features, grids).calibration for grids in (choice.grids, None)]
    assert calibrations[0].threshold == pytest.approx(calibrations[1].threshold, rel=1e-5)


def test_the_smoothing_is_the_best_of_those_asked_for():
    """Each alone is no better than what was taken from all of them."""
    _, choice = chosen(discs(), [Means()], {**CELL, "input": {"size": 64}, "choice": CHOICE})
    best = max(c.image_auroc for c in choice.record.candidates) + max(c.pixel_auroc for c in choice.record.candidates)
    seen = set()
    for sigma in (4, 8):
        for image_score in ("max", "top"):
            only = {**CHOICE, "sigmas": [sigma], "image_scores": [image_score]}
            _, other = chosen(discs(), [Means()], {**CELL, "input": {"size": 64}, "choice": only})
            candidates = other.record.candidates
            assert {(c.sigma, c.image_score) for c in candidates} == {(sigma, image_score)}
            objective = max(c.image_auroc for c in candidates) + max(c.pixel_auroc for c in candidates)
            assert objective <= best + 1e-6
            seen.add(objective)
    assert best == pytest.approx(max(seen), abs=1e-6)
    assert len(seen) > 1


def test_parts_in_any_pose_give_every_encoder_one_equal_head():
    trained = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "cutpaste"}}
    only = {**CHOICE, "image_scores": ["max"]}
    config = {**CELL, "input": {"size": 64}, "beside": [trained, CELL], "choice": only}
    _, choice = chosen(discs(aligned=False), [Means(), Means(), Noise()], config)
    record = choice.record
    assert not record.aligned
    assert record.alignment < 0.2
    # One that was trained here has one Gaussian for all positions, and the mean of its highest values.
    assert record.candidates[2].image_score == "top"
    assert [c.scope for c in record.candidates] == ["per-position", "shared", "shared", "per-position", "shared"]
    first, beside, last = record.candidates[:2], record.candidates[2:3], record.candidates[3:]
    for own in (first, beside, last):
        assert sorted(c.score_weight for c in own)[::-1][:1] == [pytest.approx(1 / 3)]
        assert sum(c.score_weight for c in own) == pytest.approx(1 / 3)
        assert max(own, key=lambda c: c.image_auroc).score_weight > 0
    assert choice.kept == (0, 1, 2)
    assert len(choice.config.branches) == 3
    assert sum(choice.config.fusion.map_weights) == pytest.approx(1)


def test_the_map_of_a_trained_encoder_is_of_its_head_per_position():
    trained = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "cutpaste"}}
    _, choice = chosen(discs(), [Means()], {**trained, "input": {"size": 64}, "choice": CHOICE})
    assert choice.record.aligned
    assert [c.scope for c in choice.record.candidates if c.map_weight] == ["per-position"]


def test_alignment_is_the_share_that_the_position_explains():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(1, 6, 7, 4, generator=generator)
    assert alignment(one.expand(20, -1, -1, -1)) == pytest.approx(1, abs=1e-5)
    shuffled = torch.stack([one[0].flatten(0, 1)[torch.randperm(42, generator=generator)] for _ in range(300)])
    assert alignment(shuffled.view(300, 6, 7, 4)) < 0.02
    noisy = one + torch.randn(2000, 6, 7, 4, generator=generator)
    of_positions, noise = one.numpy().var((0, 1, 2)), 1.0
    assert alignment(noisy) == pytest.approx(float((of_positions / (of_positions + noise)).mean()), abs=0.02)
    assert alignment(torch.ones(5, 2, 2, 3)) == 0


def naive_selection(members, objective, rounds=8):
    """Caruana et al. (2004), figure 1: a bag of members, the best of all bags on the way."""
    bag, best = [], (-np.inf, [])
    for _ in range(rounds):
        objectives = [objective([[*bag, i].count(k) for k in range(members)]) for i in range(members)]
        bag = [*bag, objectives.index(max(objectives))]
        if max(objectives) > best[0]:
            best = (max(objectives), bag)
    return tuple(best[1].count(k) / len(best[1]) for k in range(members))


@given(members=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_an_ensemble_is_no_worse_than_its_best_member(members, seed):
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(members, 30)) + np.outer(generator.random(members), np.arange(30) >= 15)

    def objective(weights):
        """AUROC by pairs."""
        fused = sum(weight * own for weight, own in zip(weights, scores, strict=True))
        return float((fused[15:, None] > fused[:15]).mean())

    weights = select_ensemble(members, objective)
    assert weights == naive_selection(members, objective) == select_ensemble(members, objective)
    assert sum(weights) == pytest.approx(1)
    assert min(weights) >= 0
    assert objective(weights) >= max(objective(np.eye(members)[k]) for k in range(members)) - 0.005  # a tie by rounding


@given(members=st.integers(1, 6), best=st.integers(0, 5))
def test_the_best_member_alone_is_taken_where_others_do_not_help(members, best):
    best %= members
    weights = select_ensemble(members, lambda weights: weights[best] / sum(weights))
    assert weights == tuple(float(k == best) for k in range(members))


def test_features_that_never_vary_are_refused(monkeypatch):
    monkeypatch.setattr(choosing, "_features", lambda *_: torch.ones(48, 8, 8, 3))
    config = TrainConfig.model_validate({**CELL, "head": {"dim": 3, "floor": 0}, "choice": CHOICE})
    images = discs()
    with pytest.raises(InputError, match="singular"):
        choose(
            [PatchBranch(Means(), config, 64)], [torch.ones(16, 8, 8, 3)], make_defects(images, 8, seed=1), config, 1
        )


LITE = {"encoder": {"name": "lite0", "blocks": [0, 1]}, "pretext": {"name": "none"}, "head": {"dim": 8, "floor": 0.05}}


def run(data, out, **changes):
    config = {**TINY, "export": {"fp16": False, "int8": False}, **changes}
    train(Job(data, out, TrainConfig.model_validate(config), "tiny", 0, "cpu", "edge-occ train"))
    return read_bundle(out).manifest


class Chosen(Exception):
    """Carries a choice out of a training that need not go on."""


def test_test_images_take_no_part(tiny_data, tmp_path, monkeypatch):
    settings = {"beside": [LITE], "choice": {**CHOICE, "sigmas": [4]}}
    found = run(tiny_data, tmp_path / "with.occ", **settings)

    def stop(*arguments):
        raise Chosen(choose(*arguments))

    monkeypatch.setattr("trainer.train.choose", stop)
    alone = tmp_path / "alone"
    shutil.copytree(tiny_data / "train", alone / "train")
    with pytest.raises(Chosen) as caught:
        run(alone, tmp_path / "without.occ", **settings)
    (expected,) = caught.value.args
    assert found.model_selection == expected.record
    assert found.training.config == expected.config.model_dump(mode="json")
    assert len(found.model_selection.candidates) == 2 + 3
    heads = sum(len(branch["scope"]) for branch in found.head["branches"])
    taken = [c for c in found.model_selection.candidates if c.score_weight or c.map_weight]
    assert heads == len(taken) == len(found.training.config["fusion"]["score_weights"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"choice": {"enabled": True}, "ensemble": 2}, "without an ensemble"),
        (
            {"choice": {"enabled": True}, "encoder": {"name": "resnet18"}, "pretext": {"name": "none"}},
            "patch encoders",
        ),
        ({"fusion": {"score_weights": [1, 2]}}, "a weight for each of 1 heads, not 2"),
        ({"head": {"scope": ["shared", "per-position"]}, "fusion": {"map_weights": [1]}}, "each of 2 heads, not 1"),
        ({"fusion": {"map_weights": [-1]}}, "at least 0"),
        ({"fusion": {"score_weights": [0]}}, "not all 0"),
        ({"head": {"scope": ["shared", "shared"]}}, "each kind of head once"),
        ({"pretext": {"name": "cutout"}}, "needs pretext.mode=image"),
        ({"encoder": {"name": "lite0"}}, "only the dense encoder"),
        ({"beside": [{"encoder": {"name": "lite0"}, "pretext": {"mode": "dense"}}]}, "only the dense encoder"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, words):
    with pytest.raises(ValidationError, match=words):
        TrainConfig.model_validate(settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"head": {"dim": 100}}, "more than the encoder's 16 \\+ 8 features"),
        ({"beside": [{**LITE, "head": {"dim": 41}}]}, "more than the encoder's 40"),
        ({"beside": [LITE], "input": {"size": 100}}, "must be a multiple of 8"),
        ({"beside": [{**LITE, "encoder": {"name": "lite0"}}], "input": {"size": 72}}, "must be a multiple of 16"),
        ({"beside": [{**LITE, "encoder": {"name": "lite0", "init": "none.pth"}}]}, "no such file"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(settings, words, tiny_data, tmp_path):
    with pytest.raises(InputError, match=words):
        run(tiny_data, tmp_path / "x.occ", **settings)
    assert not (tmp_path / "x.train").exists()

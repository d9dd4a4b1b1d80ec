"""Model selection on features of which it is known beforehand how well they show defects."""

import shutil

import numpy as np
import pytest
import torch
from discs import TINY, part
from torch.nn import functional

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.errors import InputError
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.config import TrainConfig
from trainer.encoders.base import Encoder
from trainer.graph.branches import PatchBranch
from trainer.selection import model_selection
from trainer.selection.model_selection import select_model
from trainer.selection.proxy_benchmark import make_defects
from trainer.train import Job, train

CELL = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "none"}}
SELECTION = {"enabled": True, "images": 8, "sigmas": [4, 8]}


class Means(Encoder):
    """Mean colour of every cell of 8 pixels."""

    scales, stride, window = (3,), 8, 8

    def forward(self, image):
        return functional.avg_pool2d(image, 8)

    def centres(self, size):
        return torch.arange(size // 8, dtype=torch.float64) * 8 + 4


class Noise(Means):
    """Random features that do not depend on the image."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(9)

    def forward(self, image):
        return torch.randn(super().forward(image).shape, generator=self.generator)


def discs(n=16, aligned=True):
    """RGB discs ``[n, 3, 64, 64]``; if not aligned, their cells of 8 pixels are shuffled."""
    pictures = np.stack([part(seed)[24:88, 24:88] for seed in range(n)])
    images = torch.from_numpy(pictures).flip(3).permute(0, 3, 1, 2)
    if not aligned:
        generator = torch.Generator().manual_seed(0)
        cells = functional.unfold(images.float(), 8, stride=8)
        cells = torch.stack([own[:, torch.randperm(64, generator=generator)] for own in cells])
        images = functional.fold(cells, 64, 8, stride=8).byte()
    return images.contiguous()


def select(images, encoders, config):
    config = TrainConfig.model_validate(config)
    branches = [PatchBranch(e.eval(), own, (64, 64)) for e, own in zip(encoders, config.branches, strict=True)]
    for branch in branches:
        branch.extractor.level(images)
    with torch.inference_mode():
        features = [branch.features(images.float()) for branch in branches]
    return branches, select_model(branches, features, make_defects(images, 8, seed=1), config, seed=1)


@pytest.fixture(scope="module")
def with_noise():
    config = {
        **CELL,
        "input": {"size": 64},
        "further_branches": [{**CELL, "map": {"sigma": 5}}],
        "selection": SELECTION,
    }
    return select(discs(), [Means(), Noise()], config)


def test_the_selected_score_is_no_worse_than_the_best_head(with_noise):
    _, selection = with_noise
    record = selection.record
    assert record.aligned
    assert [c.scope for c in record.candidates] == ["per-position", "shared", "position-mean"] * 2
    assert sum(c.score_weight for c in record.candidates) == pytest.approx(1)
    assert sum(c.map_weight for c in record.candidates) == pytest.approx(1)
    for kind in ("image_auroc", "pixel_auroc"):
        seeing, noise = ([getattr(c, kind) for c in record.candidates[at : at + 3]] for at in (0, 3))
        assert max(noise) < 0.75 < 0.95 < max(seeing)
    assert record.image_auroc >= max(c.image_auroc for c in record.candidates)
    # One head of the branch that sees the defects makes the map of aligned parts.
    assert [c.map_weight for c in record.candidates] == [0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(("taken", "kept"), [(0, (0,)), (3, (1,))])
def test_a_branch_without_weight_is_dropped(taken, kept, monkeypatch):
    def first_or_third(members, objective):
        assert members == 6
        return tuple(float(k == taken) for k in range(members))

    monkeypatch.setattr(model_selection, "select_ensemble", first_or_third)
    encoders = [Means(), Noise()] if taken == 0 else [Noise(), Means()]
    config = {**CELL, "input": {"size": 64}, "further_branches": [CELL], "selection": {**SELECTION, "aligned": 0}}
    branches, selection = select(discs(), encoders, config)
    assert selection.kept == kept
    assert selection.config.further_branches == ()
    assert [(i, own.scope) for i, own in selection.config.heads] == [(0, ("per-position",)), (0, ("position-mean",))]
    assert selection.config.fusion.score_weights == (1, 0)
    assert selection.config.fusion.map_weights == (0, 1)
    assert selection.record.image_auroc == selection.record.candidates[taken].image_auroc
    branch = branches[kept[0]]
    assert torch.equal(branch.score_map.down, branch.score_map_with(selection.config.map).down)


def test_the_settings_hold_the_selected_model_and_nothing_else(with_noise):
    branches, selection = with_noise
    config = selection.config
    assert TrainConfig.model_validate(config.model_dump()) == config
    taken = [c for c in selection.record.candidates if c.score_weight or c.map_weight]
    assert [own.scope for _, own in config.heads] == [(c.scope,) for c in taken]
    assert config.fusion.score_weights == tuple(c.score_weight for c in taken)
    assert config.fusion.map_weights == tuple(c.map_weight for c in taken)
    for candidate, (i, _) in zip(taken, config.heads, strict=True):
        own = config.branches[i].map
        assert (own.sigma, own.image_score) == (candidate.sigma, candidate.image_score)
    # Branches score with the selected smoothing.
    for own, i in zip(config.branches, selection.kept, strict=True):
        expected = branches[i].score_map_with(own.map)
        assert torch.equal(branches[i].score_map.down, expected.down)
        assert branches[i].score_map.top == expected.top
    # Other settings stay.
    assert (config.head.dim, config.head.floor, config.input.size) == (3, 0.05, 64)
    assert config.map.top_fraction == TrainConfig().map.top_fraction


@pytest.mark.parametrize("aligned", [True, False])
def test_calibration_reuses_the_grids_of_the_selection(aligned):
    images = discs(aligned=aligned)
    config = {
        **CELL,
        "input": {"size": 64},
        "further_branches": [{**CELL, "map": {"sigma": 5}}],
        "selection": SELECTION,
    }
    branches, selection = select(images, [Means(), Means()], config)
    branches = [branches[i] for i in selection.kept]
    with torch.inference_mode():
        features = [branch.features(images.float()) for branch in branches]
    calibrator = HeadCalibrator(branches, selection.config, seed=1)
    for own, expected in zip(selection.grids, calibrator.grids(features), strict=True):
        torch.testing.assert_close(own, expected)
    calibrations = [calibrator.fit(features, grids).calibration for grids in (selection.grids, None)]
    assert calibrations[0].threshold == pytest.approx(calibrations[1].threshold, rel=1e-5)


def test_the_smoothing_is_the_best_of_those_asked_for():
    """No single smoothing is better than the one selected from all."""
    _, selection = select(discs(), [Means()], {**CELL, "input": {"size": 64}, "selection": SELECTION})
    best = max(c.image_auroc for c in selection.record.candidates) + max(
        c.pixel_auroc for c in selection.record.candidates
    )
    seen = set()
    for sigma in (4, 8):
        for image_score in ("max", "top"):
            only = {**SELECTION, "sigmas": [sigma], "image_scores": [image_score]}
            _, other = select(discs(), [Means()], {**CELL, "input": {"size": 64}, "selection": only})
            candidates = other.record.candidates
            assert {(c.sigma, c.image_score) for c in candidates} == {(sigma, image_score)}
            objective = max(c.image_auroc for c in candidates) + max(c.pixel_auroc for c in candidates)
            assert objective <= best + 1e-6
            seen.add(objective)
    assert best == pytest.approx(max(seen), abs=1e-6)
    assert len(seen) > 1


def test_parts_in_any_pose_give_every_encoder_one_head_of_equal_weight():
    trained = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "cutpaste"}}
    only = {**SELECTION, "image_scores": ["max"]}
    config = {**CELL, "input": {"size": 64}, "further_branches": [trained, CELL], "selection": only}
    _, selection = select(discs(aligned=False), [Means(), Means(), Noise()], config)
    record = selection.record
    assert not record.aligned
    assert record.alignment < 0.2
    # A trained encoder has one Gaussian for all positions, and the mean of the highest values.
    assert record.candidates[2].image_score == "top"
    assert [c.scope for c in record.candidates] == ["per-position", "shared", "shared", "per-position", "shared"]
    first, second, last = record.candidates[:2], record.candidates[2:3], record.candidates[3:]
    for own in (first, second, last):
        assert sorted(c.score_weight for c in own)[::-1][:1] == [pytest.approx(1 / 3)]
        assert sum(c.score_weight for c in own) == pytest.approx(1 / 3)
        assert max(own, key=lambda c: c.image_auroc).score_weight > 0
    assert selection.kept == (0, 1, 2)
    assert len(selection.config.branches) == 3
    assert sum(selection.config.fusion.map_weights) == pytest.approx(1)


def test_the_map_of_a_trained_encoder_is_of_its_head_per_position():
    trained = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "cutpaste"}}
    _, selection = select(discs(), [Means()], {**trained, "input": {"size": 64}, "selection": SELECTION})
    assert selection.record.aligned
    assert [c.scope for c in selection.record.candidates if c.map_weight] == ["per-position"]


def test_features_that_never_vary_are_refused():
    class Constant(Means):
        def forward(self, image):
            return torch.ones_like(super().forward(image))

    with pytest.raises(InputError, match="singular"):
        select(discs(), [Constant()], {**CELL, "head": {"dim": 3, "floor": 0}, "input": {"size": 64}})


LITE = {"encoder": {"name": "lite0", "blocks": [0, 1]}, "pretext": {"name": "none"}, "head": {"dim": 8, "floor": 0.05}}


def run(data, out, **changes):
    config = {**TINY, "export": {"fp16": False, "int8": False}, **changes}
    train(Job(data, out, TrainConfig.model_validate(config), "tiny", 0, "cpu", "edge-occ train"))
    return read_bundle(out).manifest


class Stopped(Exception):
    """Ends a training after model selection, and carries its result."""


def test_test_images_change_nothing(tiny_data, tmp_path, monkeypatch):
    settings = {"further_branches": [LITE], "selection": {**SELECTION, "sigmas": [4]}}
    found = run(tiny_data, tmp_path / "with.occ", **settings)

    def stop(*arguments):
        raise Stopped(select_model(*arguments))

    monkeypatch.setattr("trainer.train.select_model", stop)
    alone = tmp_path / "alone"
    shutil.copytree(tiny_data / "train", alone / "train")
    with pytest.raises(Stopped) as caught:
        run(alone, tmp_path / "without.occ", **settings)
    (expected,) = caught.value.args
    assert found.model_selection == expected.record
    assert found.training.config == expected.config.model_dump(mode="json")
    assert len(found.model_selection.candidates) == 2 + 3
    heads = sum(len(branch["scope"]) for branch in found.head["branches"])
    taken = [c for c in found.model_selection.candidates if c.score_weight or c.map_weight]
    assert heads == len(taken) == len(found.training.config["fusion"]["score_weights"])

"""Model selection on features of which it is known beforehand how well they show defects."""

import math
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from discs import TINY, part
from torch.nn import functional

from edge_occ.bundle.bundle import read_bundle
from edge_occ.common.errors import InputError
from trainer.calibration.fit_heads import HeadCalibrator
from trainer.calibration.held_out import Shots
from trainer.config import TrainConfig
from trainer.encoders.base import Encoder
from trainer.graph.branches import PatchBranch
from trainer.job import Job
from trainer.selection import model_selection
from trainer.selection.model_selection import select_model
from trainer.selection.proxy_benchmark import ProxyBenchmark, make_defects
from trainer.train import train

CELL: dict[str, Any] = {"head": {"dim": 3, "floor": 0.05}, "pretext": {"name": "none"}}
SELECTION: dict[str, Any] = {"enabled": True, "images": 8, "sigmas": [4, 8], "shares": [0, 0.03]}
REST: dict[str, Any] = {"input": {"size": 64}, "calibration": {"false_alarm_rate": 0.1}, "selection": SELECTION}
RATES = (0.1, 0.2)


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


def discs(n=24):
    """RGB discs ``[n, 3, 64, 64]``."""
    pictures = np.stack([part(seed)[24:88, 24:88] for seed in range(n)])
    return torch.from_numpy(pictures).flip(3).permute(0, 3, 1, 2).contiguous()


def with_noisy_ground(images):
    """The part is the middle, which varies little; every cell of the ground has another grey level in every image."""
    generator = torch.Generator().manual_seed(3)
    noise = functional.interpolate(torch.rand(len(images), 1, 8, 8, generator=generator) * 255, scale_factor=8)
    spoilt = noise.byte().expand(-1, 3, -1, -1).clone()
    middle = images[:, :, 16:48, 16:48].float()
    spoilt[:, :, 16:48, 16:48] = (middle + 8 * torch.randn(middle.shape, generator=generator)).clamp(0, 255).byte()
    return spoilt


MIDDLE, CORNER = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
MIDDLE[16:48, 16:48], CORNER[:8, :8] = True, True


class Selected:
    """A selection, and all that it was made from."""

    def __init__(self, images, encoders, mask=None, **changes):
        self.config = TrainConfig.model_validate({**CELL, **REST, **changes})
        pairs = zip(encoders, self.config.branches, strict=True)
        self.branches = [PatchBranch(e.eval(), own, (64, 64)) for e, own in pairs]
        for branch in self.branches:
            branch.extractor.level(images)
        with torch.inference_mode():
            self.features = [branch.features(images.float()) for branch in self.branches]
        self.defects, self.mask = make_defects(images, 8, seed=1), mask
        selection = select_model(self.branches, self.features, self.defects, self.config, 1, mask=mask)
        self.selected, self.kept, self.record = selection.config, selection.kept, selection.record

    def scoring(self, encoder=None):
        return [c for c in self.record.candidates if c.score_weight and encoder in (None, c.encoder)]

    @property
    def makes_map(self):
        (only,) = (c for c in self.record.candidates if c.map_weight)
        return only

    def image_scores(self, candidate, changed):
        """Image scores of normal images and defects by one candidate of the first branch."""
        benchmark = ProxyBenchmark(self.defects, Shots.of(torch.arange(len(self.features[0])), 5, 1), 0.1)
        config = self.config.map.model_copy(update={"sigma": candidate.sigma})
        score_map = self.branches[0].score_map(config, self.mask if candidate.in_region else None)
        head = self.config.head.model_copy(update={"scope": (candidate.scope,)})
        grids = benchmark.grids(self.features[0], changed, head, score_map.region)
        if candidate.standardised:
            grids = benchmark.standardised(grids, score_map.region)
        return benchmark.image_scores(score_map, grids, (candidate.top_fraction or 0,))[0]


def shares_found(scores, normal):
    """Share of the rates at which each defect is found, in a loop."""
    ranked = sorted(scores[:normal])
    thresholds = [ranked[min(normal, math.ceil((normal + 1) * (1 - rate))) - 1] for rate in RATES]
    return np.array([np.mean([score > threshold for threshold in thresholds]) for score in scores[normal:]])


def same_map(one, other):
    names = ("encoder", "scope", "in_region", "standardised", "sigma")
    return all(getattr(one, name) == getattr(other, name) for name in names)


@pytest.fixture(scope="module")
def with_noise():
    return Selected(discs(), [Means(), Noise()], further_branches=[{**CELL, "map": {"sigma": 5}}])


@pytest.fixture(scope="module")
def noisy_ground():
    return Selected(with_noisy_ground(discs()), [Means()], MIDDLE, region={"mode": "auto"})


def test_every_combination_is_a_candidate(with_noise, noisy_ground):
    assert len(with_noise.record.candidates) == 2 * 3 * 2 * 2 * 2
    assert len(noisy_ground.record.candidates) == 2 * 3 * 2 * 2 * 2
    assert not any(c.in_region for c in with_noise.record.candidates)
    assert sum(c.in_region for c in noisy_ground.record.candidates) == 24


def test_power_is_that_of_plain_loops(noisy_ground):
    """Figures of candidates of every kind, from scores of defects against held-out normal images."""
    with torch.inference_mode():
        changed = noisy_ground.branches[0].features(noisy_ground.defects.images.float())
    kind = noisy_ground.defects.kind.numpy()
    for candidate in noisy_ground.record.candidates[::7]:
        scores = noisy_ground.image_scores(candidate, changed)
        found = shares_found(scores, 24)
        assert candidate.objective == pytest.approx(np.mean([found[kind == k].mean() for k in np.unique(kind)]))
        above = scores[24:] > sorted(scores[:24])[math.ceil(25 * 0.9) - 1]
        assert candidate.power == pytest.approx(np.mean([above[kind == k].mean() for k in np.unique(kind)]))


def test_the_largest_share_within_one_standard_error_of_the_best(noisy_ground):
    """The best candidate, of all; of its image scores the steadiest of those that cannot be told from it."""
    candidates = noisy_ground.record.candidates
    best = max(candidates, key=lambda c: c.objective)
    (taken,) = noisy_ground.scoring()
    assert same_map(best, taken)
    with torch.inference_mode():
        changed = noisy_ground.branches[0].features(noisy_ground.defects.images.float())
    kind = noisy_ground.defects.kind.numpy()
    of_best = shares_found(noisy_ground.image_scores(best, changed), 24)
    close = []
    for candidate in (c for c in candidates if same_map(c, best)):
        difference = of_best - shares_found(noisy_ground.image_scores(candidate, changed), 24)
        each = [difference[kind == k] for k in np.unique(kind)]
        error = math.sqrt(sum(own.var() / len(own) for own in each)) / len(each)
        if np.mean([own.mean() for own in each]) <= error:
            close.append(candidate.top_fraction or 0)
    assert (taken.top_fraction or 0) == max(close)
    assert noisy_ground.record.power == pytest.approx(taken.power)
    assert noisy_ground.record.defects == len(noisy_ground.defects.images)


def test_of_image_scores_that_find_the_same_defects_the_larger_share_is_taken():
    """The same map and the same defects found: the mean of more values is taken."""
    twice = {**SELECTION, "shares": [0, 0.0003]}  # of 1,024 pixels both are the single highest
    (taken,) = Selected(discs(), [Means()], selection=twice).scoring()
    assert (taken.image_score, taken.top_fraction) == ("top", 0.0003)


def test_a_region_is_taken_where_the_ground_is_noisy(noisy_ground):
    (taken,) = noisy_ground.scoring()
    assert taken.in_region
    of_whole = max(c.objective for c in noisy_ground.record.candidates if not c.in_region)
    assert taken.objective > of_whole + 0.1
    # The map shows the whole frame.
    assert not noisy_ground.makes_map.in_region
    assert noisy_ground.selected.head.in_region == (True, False)
    (branch,) = noisy_ground.branches
    np.testing.assert_array_equal(branch.region(0), np.pad(np.ones((4, 4), bool), 2))
    assert branch.region(1) is None


def test_a_region_is_left_where_the_whole_finds_more():
    found = Selected(discs(), [Means()], CORNER, region={"mode": "auto"})
    assert not any(c.in_region for c in found.scoring())
    assert not any(found.selected.head.in_region)
    assert found.branches[0].region(0) is None


def test_the_users_region_is_not_up_for_selection():
    found = Selected(discs(), [Means()], CORNER, region={"mode": "drawn.png"})
    assert all(c.in_region for c in found.record.candidates)
    assert all(found.selected.head.in_region)
    branch = found.branches[0]
    for head in range(len(found.selected.heads)):
        assert branch.region(head).sum() == 1
        assert torch.equal(branch.maps(torch.ones(1, 1, 1), head)[0] > 0, torch.from_numpy(CORNER))


def test_the_selected_score_is_no_worse_than_the_best_head(with_noise):
    record = with_noise.record
    assert record.aligned
    assert sum(c.score_weight for c in record.candidates) == pytest.approx(1)
    seeing, noise = record.candidates[:24], record.candidates[24:]
    assert max(c.objective for c in noise) < 0.5 < 0.8 < max(c.objective for c in seeing)
    scoring = with_noise.scoring()
    assert max(scoring, key=lambda c: c.score_weight) in seeing
    assert len({id(c) for c in scoring}) == len(scoring) <= 2
    assert record.image_auroc > 0.9


def test_the_map_is_of_one_head_with_one_covariance(with_noise):
    makes_map = with_noise.makes_map
    assert makes_map in with_noise.record.candidates[:24]
    assert makes_map.scope in ("shared", "position-mean")
    assert not makes_map.standardised
    sigma = {c.sigma for c in with_noise.scoring() if c in with_noise.record.candidates[:24]}
    assert {makes_map.sigma} == sigma
    able = [c for c in with_noise.record.candidates if c.pixel_auroc is not None]
    assert all(c.scope != "per-position" and not c.standardised for c in able)
    best = max(c.pixel_auroc for c in able[:8] + able[8:] if c.sigma in sigma)
    assert makes_map.pixel_auroc == pytest.approx(best)
    assert with_noise.record.pixel_auroc == makes_map.pixel_auroc


def test_one_head_may_give_both_score_and_map():
    """Whatever its image score: the same head is not computed twice."""
    only = {**SELECTION, "scopes": ["shared"], "standardise": [False]}
    found = Selected(discs(), [Means()], selection=only)
    assert len(found.selected.heads) == 1
    assert (found.selected.fusion.score_weights, found.selected.fusion.map_weights) == ((1,), (1,))
    assert found.scoring() == [found.makes_map]
    assert TrainConfig.model_validate(found.selected.model_dump()) == found.selected


@pytest.mark.parametrize(("taken", "kept"), [(0, (0,)), (1, (1,))])
def test_a_branch_without_weight_is_dropped(taken, kept, monkeypatch):
    def only(members, objective):
        assert members == 2
        return tuple(float(k == taken) for k in range(members))

    monkeypatch.setattr(model_selection, "select_ensemble", only)
    encoders = [Means(), Noise()] if taken == 0 else [Noise(), Means()]
    found = Selected(discs(), encoders, further_branches=[CELL])
    assert found.kept == kept
    assert found.selected.further_branches == ()
    of_branch = found.record.candidates[24 * taken : 24 * taken + 24]
    assert all(c in of_branch for c in [*found.scoring(), found.makes_map])
    assert sum(found.selected.fusion.map_weights) == 1
    (scoring,) = found.scoring()
    assert found.record.image_auroc == pytest.approx(scoring.image_auroc)
    assert found.record.power == pytest.approx(scoring.power)
    branch = found.branches[kept[0]]
    assert torch.equal(branch.score_maps[0].get_buffer("down"), branch.score_map(found.selected.map).down)


@pytest.mark.parametrize("name", ["with_noise", "noisy_ground"])
def test_the_settings_hold_the_selected_model_and_nothing_else(name, request):
    found = request.getfixturevalue(name)
    config = found.selected
    assert TrainConfig.model_validate(config.model_dump()) == config
    assert not config.selection.enabled
    taken = [c for c in found.record.candidates if c.score_weight or c.map_weight]
    described = {
        (config.branches[i].encoder.name, own.scope[0], own.standardise[0], own.in_region[0]) for i, own in config.heads
    }
    assert described == {(c.encoder, c.scope, c.standardised, c.in_region) for c in taken}
    assert sorted(config.fusion.score_weights) == sorted(c.score_weight for c in taken)
    assert sorted(config.fusion.map_weights) == sorted(c.map_weight for c in taken)
    for weight, (i, own) in zip(config.fusion.score_weights, config.heads, strict=True):
        if weight:
            scored = next(c for c in taken if (c.scope, c.score_weight) == (own.scope[0], weight))
            of_map = config.branches[i].map
            assert (of_map.sigma, of_map.image_score) == (scored.sigma, scored.image_score)
    # Branches score with the selected maps.
    for own, i in zip(config.branches, found.kept, strict=True):
        expected = found.branches[i].score_map(own.map)
        assert torch.equal(found.branches[i].score_maps[0].get_buffer("down"), expected.down)
        assert len(found.branches[i].score_maps) == len(own.head.each)
    # Other settings stay.
    assert (config.head.dim, config.head.floor, config.input.size) == (3, 0.05, 64)


def test_the_selected_heads_are_those_that_are_calibrated(noisy_ground):
    fitted = HeadCalibrator(noisy_ground.branches, noisy_ground.selected, seed=1).fit(noisy_ground.features)
    (taken,) = noisy_ground.scoring()
    names = {"mean", "whitening", *(("log_mean", "log_deviation") if taken.standardised else ())}
    assert set(fitted.head.parts[0].tensors()) == names
    assert fitted.head.parts[0].tensors()["mean"].shape[:2] == ((1, 1) if taken.scope == "shared" else (1, 16))
    with torch.inference_mode():
        changed = noisy_ground.branches[0].features(noisy_ground.defects.images.float())
    seen = noisy_ground.image_scores(taken, changed)[:24]
    # Selection reads every second row and column of the same map.
    assert np.corrcoef(seen, fitted.held_out)[0, 1] > 0.95


def test_features_that_never_vary_are_refused():
    class Constant(Means):
        def forward(self, image):
            return torch.ones_like(super().forward(image))

    with pytest.raises(InputError, match="singular"):
        Selected(discs(), [Constant()], head={"dim": 3, "floor": 0})


LITE = {"encoder": {"name": "lite0", "blocks": [0, 1]}, "pretext": {"name": "none"}, "head": {"dim": 8, "floor": 0.05}}


def run(data, out, changes: Mapping[str, Any]):
    config = {**TINY, "export": {"fp16": False, "int8": False}, **changes}
    train(Job(data, out, TrainConfig.model_validate(config), "tiny", 0, "cpu", "edge-occ train"))
    return read_bundle(out).manifest


class Stopped(Exception):
    """Ends a training after model selection, and carries its result."""


def test_test_images_do_not_change_the_selection(tiny_data, tmp_path, monkeypatch):
    changes = {
        "optimiser": {"steps": 3, "batch": 2},
        "further_branches": [LITE],
        "selection": {**SELECTION, "sigmas": [4]},
        "region": {"mode": "auto"},
    }
    found = run(tiny_data, tmp_path / "with.occ", changes)

    def stop(*arguments):
        raise Stopped(select_model(*arguments))

    monkeypatch.setattr("trainer.train.select_model", stop)
    alone = tmp_path / "alone"
    shutil.copytree(tiny_data / "train", alone / "train")
    with pytest.raises(Stopped) as caught:
        run(alone, tmp_path / "without.occ", changes)
    (expected,) = caught.value.args
    assert found.model_selection == expected.record
    assert found.training.config == expected.config.model_dump(mode="json")
    regions = {c.in_region for c in found.model_selection.candidates}
    assert len(found.model_selection.candidates) == 2 * 3 * 2 * 2 * len(regions)
    heads = sum(len(branch["scope"]) for branch in found.head["branches"])
    taken = [c for c in found.model_selection.candidates if c.score_weight or c.map_weight]
    assert heads == len(taken) == len(found.training.config["fusion"]["score_weights"])

"""Branches against distances computed one by one."""

from typing import Any

import numpy as np
import pytest
import torch

from trainer.config import BranchConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.encoders.lite0 import Lite0Encoder
from trainer.encoders.resnet import ResNet18Encoder
from trainer.graph.branches import ImageBranch, PatchBranch, make_branch
from trainer.graph.score_map import ScoreMapLayer
from trainer.heads.gaussian import fit_gaussian

DENSE: dict[str, dict[str, Any]] = {
    "encoder": {"width": 4, "dim": 16},
    "head": {"dim": 8, "scope": ["shared", "per-position"], "floor": 0.05},
}
IMAGE = {
    "encoder": {"name": "resnet18"},
    "pretext": {"name": "rotation", "mode": "image"},
    "head": {"dim": 8, "scope": "shared", "l2": True},
    "map": {"sigma": 16},
}


def pictures(n, size=96):
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(n)).float()


def distance(feature, mean, whitening):
    whitened = whitening.double().numpy() @ (feature - mean).double().numpy()
    return float(whitened @ whitened)


@pytest.fixture(scope="module")
def patches():
    torch.manual_seed(0)
    config = BranchConfig.model_validate(DENSE)
    branch = PatchBranch(DensePatchEncoder(8, 4, 16).eval(), config, (96, 96))
    with torch.inference_mode():
        features = branch.features(pictures(12))
    return branch, [fit_gaussian(features, own) for own in config.head.each]


@pytest.fixture(scope="module")
def whole():
    torch.manual_seed(0)
    config = BranchConfig.model_validate(IMAGE)
    branch = ImageBranch(ResNet18Encoder().eval(), config, (96, 96))
    with torch.inference_mode():
        features = branch.features(pictures(12))
    return branch, fit_gaussian(features, config.head)


def full_matrix(whitening):
    """A lower triangular matrix, also from three of its quarters."""
    if whitening.ndim == 2:
        return whitening
    upper, left, right = whitening
    return torch.cat((torch.cat((upper, torch.zeros_like(upper)), 1), torch.cat((left, right), 1)))


def test_every_head_scores_every_position(patches):
    branch, heads = patches
    images = pictures(2)
    with torch.inference_mode():
        scored, features = branch(images, heads)
        assert torch.equal(features, branch.features(images))
    assert features.shape == (2, 5, 5, 8)
    assert len(scored) == 2
    for k, (head, (scores, maps)) in enumerate(zip(heads, scored, strict=True)):
        grid = torch.empty(2, 5, 5)
        for n, row, column in np.ndindex(2, 5, 5):
            at = (row, column) if len(head.mean) > 1 else (0, 0)
            grid[n, row, column] = distance(features[n, row, column], head.mean[at], full_matrix(head.whitening[at]))
        expected_scores, expected_maps = branch.score_maps[k](grid)
        torch.testing.assert_close(scores, expected_scores, rtol=1e-4, atol=0)
        torch.testing.assert_close(maps, expected_maps, rtol=1e-4, atol=1e-4)
        assert maps.shape == (2, 96, 96)
        # Calibration takes a head's grid and must find what the graph does.
        torch.testing.assert_close(branch.score(grid, k), scores, rtol=1e-4, atol=0)
        torch.testing.assert_close(branch.maps(grid, k), maps, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(scored[0][0], scored[1][0], rtol=0.01)


def test_another_smoothing_lies_on_the_same_positions(patches):
    branch, _ = patches
    config = BranchConfig.model_validate({**DENSE, "map": {"sigma": 9, "image_score": "top"}}).map
    other, grid = branch.score_map(config), torch.rand(3, 5, 5)
    own = ScoreMapLayer(config, (96, 96), (torch.arange(5) * 8.0 + 32,) * 2)
    for found, expected in zip(other(grid), own(grid), strict=True):
        torch.testing.assert_close(found, expected)
    assert not torch.allclose(other(grid)[1], branch.maps(grid, 0), rtol=0.01)


def test_an_image_is_scored_by_its_mean_feature(whole):
    branch, head = whole
    images = pictures(3)
    with torch.inference_mode():
        ((scores, maps),), features = branch(images, [head])
        assert torch.equal(features, branch.features(images))
        encoded = branch.extractor.encoder(images / 255)
    assert encoded.shape[2:] == (3, 3)
    for n in range(3):
        pooled = sum(encoded[n, :, row, column] for row in range(3) for column in range(3)) / 9
        projected = (pooled / pooled.square().sum().sqrt()) @ branch.extractor.projection
        torch.testing.assert_close(features[n, 0, 0], projected, rtol=1e-4, atol=1e-5)
        assert float(scores[n]) == pytest.approx(distance(projected, head.mean[0, 0], head.whitening[0, 0]), rel=1e-3)
    torch.testing.assert_close(maps.amax((1, 2)), scores)
    assert maps.amin() >= 0
    assert maps.amin() < 0.9 * maps.amax()


def test_a_held_out_image_score_is_the_heads_own(whole):
    branch, _ = whole
    grid = torch.tensor([2.0, 5.0, 0.0]).view(3, 1, 1)
    assert branch.score(grid, 0).tolist() == [2, 5, 0]
    maps = branch.maps(grid, 0)
    assert maps.shape == (3, 96, 96)
    assert maps.amax((1, 2)).tolist() == maps.amin((1, 2)).tolist() == [2, 5, 0]


def test_a_branch_has_the_geometry_of_its_encoder(patches, whole):
    assert (patches[0].geometry, patches[0].exact) == ((64, 8, (5, 5)), True)
    assert (whole[0].geometry, whole[0].exact) == ((96, 96, (1, 1)), False)
    lite = BranchConfig.model_validate({"encoder": {"name": "lite0"}, "pretext": {"name": "none"}, "head": {"dim": 8}})
    branch = make_branch(Lite0Encoder((0, 1)).eval(), lite, (96, 96))
    assert isinstance(branch, PatchBranch)
    assert (branch.geometry, branch.exact) == ((16, 8, (12, 12)), False)


def test_the_encoders_name_decides_the_kind():
    image, patch = BranchConfig.model_validate(IMAGE), BranchConfig.model_validate(DENSE)
    assert isinstance(make_branch(ResNet18Encoder(), image, (96, 96)), ImageBranch)
    assert isinstance(make_branch(DensePatchEncoder(8, 4, 16), patch, (96, 96)), PatchBranch)


@pytest.mark.parametrize(
    ("changes", "size", "words"), [({"head": {"dim": 100}}, 96, "head.dim=100"), ({}, 60, "smaller than one window")]
)
def test_settings_that_do_not_fit_the_encoder_are_refused(changes, size, words):
    config = BranchConfig.model_validate({**DENSE, **changes})
    with pytest.raises(ValueError, match=words):
        make_branch(DensePatchEncoder(8, 4, 16), config, (96, size))


def test_each_head_has_its_own_positions(patches):
    """A head in the region scores what it scores there, and its map is 0 outside; another sees the whole grid."""
    whole, (shared, _) = patches
    config = BranchConfig.model_validate({**DENSE, "head": {**DENSE["head"], "in_region": [True, False]}})
    mask = np.zeros((96, 96), bool)
    mask[20:50, 40:90] = True
    branch = PatchBranch(whole.extractor.encoder, config, (96, 96), mask)
    region = branch.region(0)
    assert region is not None
    assert 0 < region.sum() < 25
    assert branch.region(1) is None
    with torch.inference_mode():
        features = whole.features(pictures(2))
        inside = fit_gaussian(whole.features(pictures(12)), config.head.each[1], region)
        branch.extractor = whole.extractor
        ((scores, maps), (_, whole_maps)), _ = branch(pictures(2), [inside, shared])
    grid = inside.score(features[:, torch.from_numpy(region)].unsqueeze(1))
    torch.testing.assert_close(branch.score(grid, 0), scores)
    torch.testing.assert_close(branch.maps(grid, 0), maps)
    assert torch.equal(maps > 0, torch.from_numpy(mask).expand(2, -1, -1))
    assert (whole_maps > 0).all()


def test_an_image_branch_has_no_region(whole):
    branch, _ = whole
    branch.set_heads(BranchConfig.model_validate(IMAGE), np.eye(96, dtype=bool))
    assert branch.region(0) is None

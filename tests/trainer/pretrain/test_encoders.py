"""Pretraining of all encoders, each with its own settings, seed and checkpoint."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images
from trainer.pretrain import encoders
from trainer.pretrain.encoders import fingerprint, pretrain_encoders, resized

CPU = torch.device("cpu")
BRANCH = {
    "encoder": {"width": 4, "dim": 16},
    "optimiser": {"steps": 2, "batch": 2},
    "head": {"dim": 8},
}


@pytest.fixture(scope="module")
def data(tiny_data):
    return find_normal_images(tiny_data)


def config(**changes):
    return TrainConfig.model_validate({"input": {"size": 96}, **BRANCH, **changes})


def checkpoints_in(folder):
    """A file a branch."""
    return lambda branch, fingerprint: folder / f"{branch}.safetensors"


def weights(branch):
    return torch.cat([value.flatten().float() for value in branch.extractor.state_dict().values()])


def of(data, seed=0, size=(96, 96), **changes):
    return fingerprint(config(**changes).branches[0], size, seed, data.sha256)


def test_only_settings_of_pretraining_change_the_fingerprint(data):
    base = of(data)
    for changes in (
        {"head": {"dim": 6}},
        {"map": {"sigma": 9}},
        {"calibration": {"folds": 3}},
        {"optimiser": {**BRANCH["optimiser"], "checkpoint_seconds": 99}},
    ):
        assert of(data, **changes) == base, changes
    others: tuple[dict, ...] = (
        {"seed": 1},
        {"size": (128, 96)},
        {"optimiser": {**BRANCH["optimiser"], "steps": 4}},
        {"encoder": {**BRANCH["encoder"], "stride": 16}},
        {"pretext": {"name": "cutpaste"}},
    )
    for other in others:
        assert of(data, **other) != base, other
    whole = {"pretext": {"name": "rotation", "mode": "image"}}
    views = [of(data, **whole, views=views) for views in ({}, {"enabled": True}, {"enabled": True, "grey": 0.1})]
    assert len(set(views)) == 3
    assert of(dataclasses.replace(data, sha256="0" * 64)) != base


def test_the_settings_of_further_branches_do_not_count(data):
    """So that one more branch does not throw away what the first has learned."""
    assert of(data, further_branches=[BRANCH]) == of(data)


def test_images_are_those_that_the_graph_sees(data):
    images = resized(data, (64, 64))
    assert images.shape == (16, 3, 64, 64)
    assert images.dtype == torch.uint8
    for i in (0, 7, 15):
        frame = torch.from_numpy(read_image(data.paths[i])).flip(2).permute(2, 0, 1).unsqueeze(0).float()
        expected = functional.interpolate(frame, (64, 64), mode="bilinear", antialias=True)
        assert float((images[i].float() - expected[0]).abs().max()) <= 0.501


def test_branches_come_ready_to_be_exported(data, tmp_path):
    settings = config(further_branches=[{**BRANCH, "pretext": {"name": "none"}}])
    pretrained = pretrain_encoders(data, settings, 0, CPU, checkpoints_in(tmp_path))
    assert torch.equal(pretrained.images, resized(data, (96, 96)))
    assert [fit is None for fit in pretrained.fits] == [False, True]
    assert pretrained.fits[0].history[-1][0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["0.safetensors"]
    for branch in pretrained.branches:
        assert not branch.training
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in branch.modules())
        with torch.inference_mode():
            raw = branch.extractor.map(pretrained.images.float())
        # Levelled: what the first scale's part of the projection leaves is as large as what the second's does.
        for part in (slice(0, 16), slice(16, 24)):
            share = branch.extractor.projection[part].norm(dim=0).amax()
            assert float(share * raw[:, part].std()) == pytest.approx(1, rel=1e-3)


def test_every_model_of_an_ensemble_has_a_seed_and_a_checkpoint_of_its_own(data, tmp_path):
    pretrained = pretrain_encoders(data, config(ensemble=2), 5, CPU, checkpoints_in(tmp_path))
    first, second = pretrained.branches
    assert not torch.equal(weights(first), weights(second))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.safetensors", "1.safetensors"]
    alone = pretrain_encoders(data, config(), 6, CPU, checkpoints_in(tmp_path / "alone"))
    assert torch.equal(weights(alone.branches[0]), weights(second))


def test_pretraining_resumes_from_the_checkpoints_of_every_branch(data, tmp_path, monkeypatch):
    settings = config(further_branches=[{**BRANCH, "pretext": {"name": "cutpaste"}}])
    first = pretrain_encoders(data, settings, 0, CPU, checkpoints_in(tmp_path))
    monkeypatch.setattr("trainer.pretrain.update.Updates.__call__", lambda *arguments: pytest.fail("trained again"))
    again = pretrain_encoders(data, settings, 0, CPU, checkpoints_in(tmp_path))
    for before, after in zip(first.branches, again.branches, strict=True):
        assert torch.equal(weights(before), weights(after))
    assert [fit.history for fit in first.fits] == [fit.history for fit in again.fits]


def test_settings_that_contradict_each_other_are_refused_before_training(data, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "fit_encoder", lambda *arguments: pytest.fail("trained"))
    with pytest.raises(InputError, match=r"head\.dim=100 is more than the encoder's 16 \+ 8 features"):
        pretrain_encoders(data, config(head={"dim": 100}), 0, CPU, checkpoints_in(tmp_path))


def test_features_beyond_the_memory_are_refused_before_anything_is_trained(data, tmp_path, monkeypatch):
    monkeypatch.setattr(encoders, "MAX_FEATURE_BYTES", 1000)
    monkeypatch.setattr(encoders, "fit_encoder", None)
    with pytest.raises(InputError, match="features of all images"):
        pretrain_encoders(data, config(), 0, CPU, checkpoints_in(tmp_path))

"""Golden frames: cropped, with their part whole, and some with a defect on it."""

import numpy as np
import pytest
import torch
from parts import picture

from edge_occ.bundle.crop import Crop
from edge_occ.bundle.pose import Pose
from edge_occ.bundle.pre_stage import PreStage
from trainer.export import golden_frames as module
from trainer.export.golden_frames import cropped, golden_frames

POSE = Pose(height=64, width=144, side=256, contrast=0.5, area=500, elongation=0.4, skewness=0.07)


def frame(**settings):
    return torch.from_numpy(picture(**settings))


def test_whole_frames_are_cropped_from_their_corner():
    image = frame(shape=(300, 200))
    assert torch.equal(cropped(image, PreStage((64, 64))), image)


@pytest.mark.parametrize("centre", [(90, 90), (300, 210), (310, 90)])
def test_a_part_is_whole_in_the_cropped_frame(monkeypatch, centre):
    monkeypatch.setattr(module, "SIDE", 200)
    image = frame(degrees=40, centre=centre, shape=(300, 400))
    stage = PreStage((64, 144), POSE)
    crop = cropped(image, stage)
    assert crop.shape == (200, 200, 3)
    expected, found = (stage.prepared(of.numpy()).astype(float) for of in (image, crop))
    assert np.abs(found - expected).mean() < 2


def test_a_part_larger_than_the_crop_enlarges_it(monkeypatch):
    monkeypatch.setattr(module, "SIDE", 100)
    golden = cropped(frame(shape=(300, 400), centre=(200, 150)), PreStage((64, 144), POSE))
    assert golden.shape == (180, 180, 3)


@pytest.mark.parametrize(("side", "shape"), [(400, (300, 400)), (399, (150, 200)), (100, (75, 100)), (99, (37, 50))])
def test_a_frame_that_is_cropped_later_is_halved(monkeypatch, side, shape):
    monkeypatch.setattr(module, "SIDE", side)
    image = frame(shape=(300, 400), centre=(200, 150))
    golden = cropped(image, PreStage((16, 16), crop=Crop(75, 100, 150, 200, (300, 400))))
    assert golden.shape == (*shape, 3)
    assert abs(golden.float().mean() - image.float().mean()) < 1


def test_pastes_are_small_and_in_the_crop():
    stage = PreStage((32, 32), crop=Crop(100, 150, 40, 60, (300, 400)))
    normal = frame(shape=(300, 400), centre=(200, 150))
    for pasted in golden_frames([normal], stage)[3:]:
        changed = (pasted != normal).any(2)
        assert changed.sum() <= 0.041 * 40 * 60
        assert changed[100:140, 150:210].any()


def test_pasted_frames_have_a_pose_and_a_change_in_the_cut_out():
    stage = PreStage((64, 144), POSE)
    golden = golden_frames([frame(degrees=50), frame(degrees=170)], stage)
    prepared = [stage.prepared(image.numpy()).astype(float) for image in golden]
    for normal, pasted in zip((golden[1], golden[0], golden[1]), golden[3:], strict=True):
        assert not torch.equal(normal, pasted)
    assert all(np.abs(pasted - prepared[0]).max() > 60 for pasted in prepared[3:])

"""Golden frames: cropped, with their part whole, and some with a defect on it."""

import numpy as np
import pytest
import torch
from parts import picture

from edge_occ.bundle.pose import Pose
from edge_occ.bundle.pre_stage import PreStage
from trainer.export import golden_frames as module
from trainer.export.golden_frames import cropped, golden_frames

POSE = Pose(height=64, width=144, side=256, contrast=0.5, area=500, elongation=0.4, skewness=0.07)


def frame(**settings):
    return torch.from_numpy(picture(**settings))


def test_whole_frames_are_cropped_from_their_corner():
    image = frame(shape=(300, 200))
    assert torch.equal(cropped(image, None), image)


@pytest.mark.parametrize("centre", [(90, 90), (300, 210), (310, 90)])
def test_a_part_is_whole_in_the_cropped_frame(monkeypatch, centre):
    monkeypatch.setattr(module, "SIDE", 200)
    image = frame(degrees=40, centre=centre, shape=(300, 400))
    crop = cropped(image, POSE)
    assert crop.shape == (200, 200, 3)
    stage = PreStage((64, 144), POSE)
    expected, found = (stage.prepared(of.numpy()).astype(float) for of in (image, crop))
    assert np.abs(found - expected).mean() < 2


def test_a_part_larger_than_the_crop_enlarges_it(monkeypatch):
    monkeypatch.setattr(module, "SIDE", 100)
    assert cropped(frame(shape=(300, 400), centre=(200, 150)), POSE).shape == (180, 180, 3)


def test_pasted_frames_have_a_pose_and_a_change_in_the_cut_out():
    stage = PreStage((64, 144), POSE)
    golden = golden_frames([frame(degrees=50), frame(degrees=170)], stage)
    prepared = [stage.prepared(image.numpy()).astype(float) for image in golden]
    for normal, pasted in zip((golden[1], golden[0], golden[1]), golden[3:], strict=True):
        assert not torch.equal(normal, pasted)
    assert all(np.abs(pasted - prepared[0]).max() > 60 for pasted in prepared[3:])

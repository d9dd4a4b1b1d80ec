"""The region of a training, and the crop around it."""

import json

import cv2
import numpy as np
import pytest
from discs import write

from edge_occ.common.errors import InputError
from trainer.config import TrainConfig
from trainer.data.images import find_normal_images
from trainer.pretrain.region import with_region

FRAME = (128, 192)


def image(seed, radius=20, centre=(60, 50), shape=FRAME):
    random = np.random.default_rng(seed)
    picture = np.full((*shape, 3), 40, np.uint8)
    cv2.circle(picture, centre, radius, (180, 190, 200), -1)
    return np.clip(picture + random.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def images(folder, **settings):
    for seed in range(10):
        write(folder / "train" / "good" / f"{seed}.png", image(seed, **settings))
    return find_normal_images(folder)


def config(crop=True, mode="auto", **changes):
    settings = {"input": {"size": 128}, "region": {"mode": mode, "crop": crop}, **changes}
    return TrainConfig.model_validate(settings)


def test_frames_are_cropped_to_the_parts_and_a_margin(tmp_path):
    data, mask = with_region(images(tmp_path), config())
    crop = data.crop
    assert crop.frame == FRAME
    # Radius 20 around column 60 and row 50; the region reaches 3 % of the resized side further, the margin 4 pixels.
    for first, end, centre in ((crop.left, crop.left + crop.width, 60), (crop.top, crop.top + crop.height, 50)):
        assert 5 <= centre - 20 - first <= 12
        assert 5 <= end - (centre + 20) <= 12
    assert data.viewed == (crop.height, crop.width)
    assert mask.shape == config().resized(data.viewed) == (128, 128)
    assert mask[64, 64]
    assert not mask[0].any()
    assert 0.5 < mask.mean() < 0.9, "a disc, and the corners are ground"
    assert data.stage((128, 128)).prepared(image(0)).shape == (crop.height, crop.width, 3)


def test_without_the_setting_they_stay_whole(tmp_path):
    data, mask = with_region(images(tmp_path), config(crop=False))
    assert data.crop is None
    assert mask.shape == config().resized(FRAME)


@pytest.mark.parametrize(
    ("settings", "mode"), [({"radius": 64, "centre": (64, 64), "shape": (128, 128)}, "auto"), ({}, "whole")]
)
def test_nothing_to_leave_out_leaves_them_whole(tmp_path, settings, mode):
    data, _ = with_region(images(tmp_path, **settings), config(mode=mode))
    assert data.crop is None


def test_frames_that_the_input_shows_without_loss_stay_whole(tmp_path):
    data, _ = with_region(images(tmp_path), config(input={"size": [128, 192]}))
    assert data.crop is None


def test_images_of_different_sizes_stay_whole(tmp_path):
    images(tmp_path)
    write(tmp_path / "train" / "good" / "11.png", image(11, shape=(140, 210)))
    data, mask = with_region(find_normal_images(tmp_path), config())
    assert data.crop is None
    assert mask is not None


def test_the_users_region_is_cropped_to_as_well(tmp_path):
    data = images(tmp_path / "parts")
    path = tmp_path / "region.json"
    path.write_text(json.dumps({"inspect": [[[100, 40], [150, 40], [150, 100], [100, 100]]]}))
    cropped, mask = with_region(data, config(mode=str(path)))
    crop = cropped.crop
    # Columns 100 to 150 and rows 40 to 100, with a margin of 4, within a pixel of the resized frame.
    np.testing.assert_allclose(
        [crop.top, crop.left, crop.top + crop.height, crop.left + crop.width], [36, 96, 105, 155], atol=2
    )
    assert mask.shape == config().resized((crop.height, crop.width))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    scale = mask.shape[0] / crop.height, mask.shape[1] / crop.width
    found = rows[[0, -1]] / scale[0] + crop.top, columns[[0, -1]] / scale[1] + crop.left
    np.testing.assert_allclose(found, [[40, 100], [100, 150]], atol=2)
    path.write_text(json.dumps({"inspect": [[[500, 40], [550, 40], [550, 100]]]}))
    with pytest.raises(InputError):
        with_region(data, config(mode=str(path)))

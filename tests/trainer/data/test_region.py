"""Regions found on normal images and drawn by users."""

import json

import cv2
import numpy as np
import pytest
import torch
from discs import part

from edge_occ.common.errors import InputError
from trainer.data.region import find_region, read_region


def images(n=20):
    pictures = np.stack([part(seed)[24:88, 24:88] for seed in range(n)])
    return torch.from_numpy(pictures).flip(3).permute(0, 3, 1, 2).contiguous()


def ground_with(radius, n=20, dust=False):
    """Grey ground with a bright disc, and a speck somewhere else on each image."""
    pictures = np.full((n, 128, 128, 3), 40, np.uint8)
    for k, picture in enumerate(pictures):
        cv2.circle(picture, (64, 64), radius, (180, 190, 200), -1)
        if dust:
            x, y = (12, 25 + 5 * k) if k % 2 else (12 + 5 * k, 12)
            cv2.circle(picture, (x, y), 4, (220, 220, 220), -1)
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("dust", [False, True])
def test_the_region_is_the_part_and_a_margin(dust):
    mask = find_region(ground_with(30, dust=dust))
    distance = np.hypot(*(np.indices((128, 128)) - 64))
    assert mask[distance < 31].all()
    # No two images have a speck in one place.
    assert not mask[distance > 37].any()


def test_a_texture_has_no_region():
    noise = torch.randint(0, 256, (20, 3, 64, 64), generator=torch.Generator().manual_seed(0)).byte()
    assert find_region(noise) is None


def test_a_part_that_fills_the_image_has_no_region():
    assert find_region(ground_with(88)) is None


def test_a_picture_is_resized_to_the_inputs_size(tmp_path):
    drawn = np.zeros((80, 160), np.uint8)
    drawn[20:60, 40:120] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), drawn)
    mask = read_region(tmp_path / "mask.png", (80, 160), (40, 80))
    assert mask.shape == (40, 80)
    np.testing.assert_array_equal(mask, drawn[::2, ::2] > 0)


def test_polygons_to_inspect_and_to_ignore(tmp_path):
    path = tmp_path / "region.json"
    square, hole = [[10, 10], [50, 10], [50, 50], [10, 50]], [[20, 20], [30, 20], [30, 30], [20, 30]]
    path.write_text(json.dumps({"inspect": [square], "ignore": [hole]}))
    mask = read_region(path, (64, 64), (64, 64))
    assert mask[15, 15]
    assert mask[45, 45]
    assert not mask[25, 25]
    assert not mask[5, 5]
    path.write_text(json.dumps({"ignore": [hole]}))
    mask = read_region(path, (64, 64), (64, 64))
    assert mask[5, 5]
    assert not mask[25, 25]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "line 1"),
        ('{"inspect": [[[1, 2], [3, 4]]]}', "inspect.0"),
        ('{"polygon": []}', "polygon"),
        ("[" * 100_000, "recursion"),
        ('{"ignore": [[[-9, -9], [200, -9], [200, 200], [-9, 200]]]}', "0.0%"),
        ('{"inspect": [[[300, 300], [310, 300], [310, 310]]]}', "0.0%"),
    ],
)
def test_wrong_polygons(content, found, tmp_path):
    path = tmp_path / "region.json"
    path.write_text(content)
    with pytest.raises(InputError) as raised:
        read_region(path, (64, 64), (64, 64))
    assert found in raised.value.found


def test_a_picture_of_another_size_an_empty_one_and_none(tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((64, 64), np.uint8))
    with pytest.raises(InputError, match="64x64"):
        read_region(tmp_path / "mask.png", (32, 64), (32, 32))
    with pytest.raises(InputError, match="something to inspect"):
        read_region(tmp_path / "mask.png", (64, 64), (32, 32))
    with pytest.raises(InputError, match="no such file"):
        read_region(tmp_path / "other.png", (64, 64), (32, 32))
    with pytest.raises(InputError, match="different sizes"):
        read_region(tmp_path / "mask.png", None, (32, 32))

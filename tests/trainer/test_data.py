"""Images to learn from and to be tested on."""

import cv2
import numpy as np
import pytest
import torch

from edge_occ.downscale import downscale
from edge_occ.errors import InputError
from trainer.data import find_labelled_images, find_normal_images, normal_folder, read_frames


def write(path, value, size=(70, 80)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def test_both_layouts_are_understood(tmp_path):
    (tmp_path / "mvtec" / "train" / "good").mkdir(parents=True)
    (tmp_path / "plain").mkdir()
    assert normal_folder(tmp_path / "mvtec") == tmp_path / "mvtec" / "train" / "good"
    assert normal_folder(tmp_path / "plain") == tmp_path / "plain"


def test_the_fingerprint_is_of_pixels_and_order_not_of_names_and_formats(tmp_path):
    for i in range(8):
        write(tmp_path / "a" / f"{i}.png", i)
        write(tmp_path / "b" / f"x{i}.bmp", i)
        write(tmp_path / "c" / f"{i}.png", 7 - i)
    fingerprints = [find_normal_images(tmp_path / name).sha256 for name in "abc"]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert find_normal_images(tmp_path / "a").frame == (70, 80)


def test_frames_come_in_order_whatever_their_sizes(tmp_path):
    sizes = [(70, 80)] * 3 + [(90, 64)] * 2 + [(70, 80)]
    for i, size in enumerate(sizes):
        write(tmp_path / f"{i}.png", i, size)
    paths = tuple(sorted(tmp_path.iterdir()))
    batches = list(read_frames(paths, "reading", batch=4))
    assert [tuple(b.shape) for b in batches] == [(3, 70, 80, 3), (1, 90, 64, 3), (1, 90, 64, 3), (1, 70, 80, 3)]
    assert torch.cat([b[:, 0, 0, 0] for b in batches]).tolist() == list(range(6))


def test_large_frames_are_downscaled_as_they_are_read(tmp_path):
    pictures = [np.random.default_rng(i).integers(0, 256, (150, 250 + i, 3), dtype=np.uint8) for i in (0, 0, 8)]
    for i, picture in enumerate(pictures):
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), picture)
    batches = list(read_frames(tuple(sorted(tmp_path.iterdir())), "reading", size=64))
    assert [tuple(batch.shape) for batch in batches] == [(2, 75, 125, 3), (1, 75, 64, 3)]
    for frame, picture in zip((frame for batch in batches for frame in batch), pictures, strict=True):
        np.testing.assert_array_equal(frame, downscale(picture, 64, 64))


def test_an_image_that_vanishes_is_told(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png"):
        list(read_frames((tmp_path / "gone.png",), "reading"))


def test_labelled_images_have_kinds_and_masks(tiny_data):
    images = find_labelled_images(tiny_data)
    kinds = {image.kind for image in images}
    assert kinds == {"good", "scratch", "spot"}
    for image in images:
        assert image.defective == (image.kind != "good") == (image.mask is not None)

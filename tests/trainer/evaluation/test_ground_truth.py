"""Checks of labelled sets."""

import cv2
import numpy as np
import pytest

from edge_occ.common.errors import InputError
from trainer.data.layout import LabelledImage
from trainer.evaluation.ground_truth import check_labelled, has_pixels, read_mask

SHAPE = (20, 30, 3)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def labelled(tmp_path):
    """Gives a labelled image with the mask given."""

    def make(mask=None, kind="spot", name="000", image=None):
        path = tmp_path / "test" / kind / f"{name}.png"
        write(path, np.full(SHAPE, 90, np.uint8) if image is None else image)
        truth = tmp_path / "ground_truth" / kind / f"{name}_mask.png"
        return LabelledImage(path, kind, () if mask is None else (write(truth, mask),))

    return make


def black(*shape):
    return np.zeros(shape or SHAPE[:2], np.uint8)


def spot(value, *channels):
    mask = black(*SHAPE[:2], *channels)
    mask[5:9, 3:8] = value
    return mask


@pytest.mark.parametrize("mask", [spot(255), spot(1), spot((0, 0, 255), 3)], ids=["white", "one", "red"])
def test_every_pixel_that_is_not_black_is_marked(labelled, mask):
    assert (read_mask(labelled(mask), SHAPE) == (spot(255) > 0)).all()


def test_a_defect_may_fill_the_image_and_a_good_image_may_have_a_black_mask(labelled):
    assert read_mask(labelled(black() + 255), SHAPE).all()
    assert not read_mask(labelled(black(), "good"), SHAPE).any()
    assert not read_mask(labelled(), SHAPE).any()


def refuses(image, *words):
    with pytest.raises(InputError) as error:
        read_mask(image, SHAPE)
    assert str(image.masks[0]) in error.value.found
    for word in words:
        assert word in f"{error.value.expected} {error.value.found}"


def test_a_mask_of_another_size(labelled):
    refuses(labelled(black(28, 20)), "30x20", "20x28")


@pytest.mark.parametrize(
    ("mask", "colours"),
    [
        (cv2.GaussianBlur(spot(200), (3, 3), 0), "6 colours"),
        (np.where(spot(1, 3) > 0, (0, 0, 255), (90, 90, 90)).astype(np.uint8), "2 colours"),
    ],
    ids=["smoothed", "overlay"],
)
def test_a_mask_that_is_not_binary(labelled, mask, colours):
    refuses(labelled(mask), "one other colour", colours)


def test_a_defect_without_a_marked_pixel_is_skipped_and_reported(labelled, tmp_path):
    """Published data sets hold some."""
    images = [labelled(spot(255), name=f"{i:03}") for i in range(150)]
    images[7] = labelled(black(), name="007")
    checked = check_labelled(images, None, tmp_path)
    assert checked.images == (*images[:7], *images[8:])
    assert checked.skipped == (f"{images[7].path}: nothing is marked in {images[7].masks[0]}",)


def test_a_good_image_with_marked_pixels(labelled):
    refuses(labelled(spot(255), "good"), "20 marked pixels", "good image")


def test_masks_for_some_defects_only_are_reported(labelled, tmp_path):
    images = [labelled(kind="good"), labelled(spot(255)), labelled(name="001")]
    checked = check_labelled(images, None, tmp_path)
    assert checked.images == tuple(images)
    assert [has_pixels(image) for image in images] == [True, True, False]
    (warning,) = checked.warnings
    assert f"1 of 2 defects have no mask; the first is {images[2].path}" in warning
    assert "001_mask.png" in warning
    assert check_labelled(images[:2], None, tmp_path).warnings == ()
    assert check_labelled([images[0], images[2]], None, tmp_path).warnings == ()


def test_undefined_figures_are_reported_without_good_images(labelled, tmp_path):
    (warning,) = check_labelled([labelled(spot(255))], None, tmp_path).warnings
    assert "no good images" in warning


def test_a_mask_that_marks_nearly_all_is_reported(labelled, tmp_path):
    images = [labelled(kind="good"), labelled(spot(255)), labelled(255 - spot(255), name="001")]
    (warning,) = check_labelled(images, None, tmp_path).warnings
    assert f"1 mask with more than 90% of the image marked; the first is {images[2].masks[0]}" in warning


@pytest.mark.parametrize("value", [1, 4095, 65535])
def test_16_bit_masks_are_read_as_they_are(labelled, value):
    mask = spot(1).astype(np.uint16) * value
    assert (read_mask(labelled(mask), SHAPE) == (mask > 0)).all()


def rgba(colour, alpha):
    return np.dstack((np.broadcast_to(colour, (*SHAPE[:2], 3)), alpha)).astype(np.uint8)


@pytest.mark.parametrize(
    "mask",
    [
        rgba((0, 0, 0), spot(255)),
        rgba((255, 255, 255), spot(255)),
        rgba((255, 255, 255), spot(128)),
        rgba(spot((0, 0, 255), 3), spot(255)),
        rgba(np.where(spot(1, 3) > 0, (0, 0, 255), (255, 255, 255)), spot(255)),
        rgba(spot(255, 3), black() + 255),
        rgba(spot(255, 3), np.where(np.arange(30) < 20, 255, 0) + black()),
    ],
    ids=["black", "white", "half", "red", "red on white", "opaque", "partly cut away"],
)
def test_masks_may_be_in_the_transparency(labelled, mask):
    assert (read_mask(labelled(mask), SHAPE) == (spot(255) > 0)).all()


def test_several_masks_mark_together(labelled, tmp_path):
    image = labelled(spot(255))
    other = black()
    other[12:15, 20:25] = 7
    both = LabelledImage(image.path, "spot", (*image.masks, write(tmp_path / "other.png", other)))
    assert (read_mask(both, SHAPE) == (spot(255) + other > 0)).all()


def test_the_first_image_of_another_size_than_those_of_training_is_named(labelled, tmp_path):
    other = np.full((40, 60, 3), 90, np.uint8)
    images = [labelled(), labelled(name="001", image=other), labelled(name="002", image=other)]
    assert check_labelled(images, None, tmp_path).images == tuple(images)
    with pytest.raises(InputError, match=r"60x40 in .*001\.png") as error:
        check_labelled(images, SHAPE[:2], tmp_path)
    assert "30x20" in error.value.expected


def test_an_unreadable_image_is_skipped_and_reported(labelled, tmp_path):
    images = [labelled(name=f"{i:03}") for i in range(101)]
    images[50].path.write_bytes(b"no picture")
    checked = check_labelled(images, SHAPE[:2], tmp_path)
    assert checked.images == (*images[:50], *images[51:])
    assert [line.startswith(f"{images[50].path}: ") for line in checked.skipped] == [True]

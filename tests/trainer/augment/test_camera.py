"""Changed copies of frames: what they keep, and that they change no more than asked."""

import cv2
import numpy as np
import pytest
from discs import part
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.decoding import has_colour
from trainer.augment.camera import change_frame
from trainer.config import CameraChangesConfig

NONE = {"brightness": 0, "noise": 0, "jpeg": None, "shift": 0}


def changes(**given):
    return CameraChangesConfig(copies=1, **{**NONE, **given})


def texture(seed=0, low=40, high=200):
    return np.random.default_rng(seed).integers(low, high, (60, 50, 3)).astype(np.uint8)


def test_no_change_changes_nothing():
    assert np.array_equal(change_frame(part(0), changes(), seed=0), part(0))


@given(st.integers(0, 2**40), st.integers(0, 3), st.booleans())
def test_a_copy_is_a_frame_of_the_same_shape_and_kind_and_the_same_again(seed, copy, grey):
    image = part(3)[:90]
    if grey:
        image = image[:, :, :1].repeat(3, axis=2)
    before = image.copy()
    changed = change_frame(image, CameraChangesConfig(), seed, copy)
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)
    assert has_colour(changed) == has_colour(image)
    assert np.array_equal(image, before)
    assert np.array_equal(change_frame(image.copy(), CameraChangesConfig(), seed, copy), changed)


def test_copies_differ_by_image_by_copy_and_by_seed():
    def noise(image, seed, copy):
        changed = change_frame(image, changes(noise=3), seed, copy).astype(int)
        return (changed - image).tobytes()

    assert len({noise(*case) for case in ((part(0), 0, 0), (part(1), 0, 0), (part(0), 1, 0), (part(0), 0, 1))}) == 4


def test_brightness_changes_by_at_most_what_is_asked_and_both_ways():
    image = texture()
    gains = [change_frame(image, changes(brightness=0.03), 0, copy).mean() / image.mean() for copy in range(40)]
    assert 0.97 - 1e-3 <= min(gains) < 0.98
    assert 1.02 < max(gains) <= 1.03 + 1e-3


def test_noise_has_a_deviation_of_up_to_what_is_asked():
    image = texture()
    deviations = [(change_frame(image, changes(noise=3), 0, copy).astype(int) - image).std() for copy in range(40)]
    assert min(deviations) < 0.6
    assert 2.4 < max(deviations) < 3.1


def test_noise_stays_within_eight_bits():
    image = texture(low=0, high=3)
    image[:30] = 255
    changed = change_frame(image, changes(noise=3), 0)
    assert changed[30:].max() < 30
    assert changed[:30].min() > 225


def test_shifts_are_by_whole_pixels_with_the_edge_repeated():
    image = texture()
    padded = cv2.copyMakeBorder(image, 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    places = {
        (down, right): padded[2 - down : 62 - down, 2 - right : 52 - right].tobytes()
        for down in range(-2, 3)
        for right in range(-2, 3)
    }
    seen = {change_frame(image, changes(shift=2), 0, copy).tobytes() for copy in range(200)}
    assert seen == set(places.values())


def test_half_of_the_copies_are_compressed_with_a_quality_of_the_range():
    image = texture()
    possible = {quality: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1).tobytes()
                for quality in range(70, 97)}  # fmt: skip
    copies = [change_frame(image, changes(jpeg=(70, 96)), 0, copy).tobytes() for copy in range(100)]
    plain = copies.count(image.tobytes())
    assert 30 < plain < 70
    assert set(copies) - {image.tobytes()} <= set(possible.values())
    assert len(set(copies)) > 15


@pytest.mark.parametrize("jpeg", [(96, 70), (0, 50), (50, 101)])
def test_qualities_that_are_none_are_refused(jpeg):
    with pytest.raises(ValueError, match="two qualities of 1 to 100"):
        CameraChangesConfig(jpeg=jpeg)

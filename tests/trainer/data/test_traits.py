"""Common properties of normal images, and warnings about them."""

import logging

import numpy as np
import pytest

from edge_occ.common.decoding import Picture
from trainer.data.traits import MIN_DEFECT, ImageTraits, Traits, shrinking


def picture(pixels, orientation=1):
    return Picture(np.asarray(pixels), frozenset(), orientation)


def test_of_one_image():
    pixels = np.zeros((4, 6, 3), np.uint16)
    pixels[1, 2] = 777
    assert ImageTraits.of(picture(pixels)) == ImageTraits((4, 6), turned=False, colour=False, highest=777)
    pixels[0, 0, 2] = 1
    assert ImageTraits.of(picture(pixels.astype(np.uint8), 6)) == ImageTraits((4, 6), True, colour=True, highest=None)


def test_of_a_set():
    images = [
        ImageTraits((10, 30), turned=False, colour=True, highest=700),
        ImageTraits((20, 15), turned=True, colour=True, highest=None),
        ImageTraits((20, 15), turned=True, colour=True, highest=3000),
    ]
    assert Traits.of(images) == Traits(largest=(20, 30), turned=2, colour=True, white=4095)
    assert Traits.of(images[1:2]).white is None
    grey = ImageTraits((5, 5), turned=False, colour=False, highest=None)
    assert Traits.of([grey]).colour is False
    assert Traits.of([grey, *images]).colour is None


def test_orientation_and_shrinking_are_logged(caplog):
    with caplog.at_level(logging.WARNING):
        Traits(largest=(3000, 4000), turned=3, colour=True, white=None).log(256)
    first, second = caplog.messages
    assert first == "3 pictures would be turned by a viewer; here orientation is ignored, in pictures and in videos"
    assert "4000x3000 are shrunk 15.6 x 11.7 times to 256x256" in second
    assert f"smaller than about {MIN_DEFECT * 4000 / 256:.0f} pixels" in second
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        Traits(largest=(300, 400), turned=0, colour=True, white=None).log(256)
    assert caplog.messages == []


@pytest.mark.parametrize(("frame", "expected"), [((512, 512), False), ((256, 513), True), ((513, 256), True)])
def test_shrinking_is_reported_from_half_on(frame, expected):
    assert (shrinking(frame, 256) is not None) == expected

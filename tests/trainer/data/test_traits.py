"""Common properties of normal images, and warnings about them."""

import logging

import numpy as np
import pytest

from edge_occ.bundle.provenance import Exposure
from edge_occ.common.decoding import Picture
from edge_occ.common.exposure import Light
from trainer.data.traits import ImageTraits, Traits


def picture(pixels, orientation=1):
    return Picture(np.asarray(pixels), frozenset(), orientation)


def light(mean=100.0, deviation=30.0, repeated_rows=0.0, sharpness=0.5):
    levels = (max(0.0, mean - deviation), mean, mean + deviation)
    return {"light": Light(mean, deviation, levels, repeated_rows, sharpness)}


EXPOSURE = Exposure(mean=(90, 110), deviation=(28, 33), repeated_rows=0.1)


def test_of_one_image():
    pixels = np.zeros((4, 6, 3), np.uint16)
    pixels[1, 2] = 777
    deviation = 777 * np.sqrt(1 / 24 - 1 / 24**2)
    found = ImageTraits.of(picture(pixels))
    assert (found.size, found.turned, found.colour, found.highest) == ((4, 6), False, False, 777)
    assert (found.light.mean, found.light.deviation) == pytest.approx((777 / 24, deviation))
    assert found.light.repeated_rows == 0.25, "rows 2 and 3 are equal"
    pixels[0, 0, 2] = 1
    found = ImageTraits.of(picture(pixels.astype(np.uint8), 6))
    assert (found.turned, found.colour, found.highest) == (True, True, None)


def test_rows_of_16_bits_are_compared_in_8():
    """Noise in 16 bits may vanish in a frame of 8."""
    pixels = np.full((40, 50, 3), 30_000, np.uint16)
    pixels += np.random.default_rng(0).integers(0, 60, pixels.shape).astype(np.uint16)
    assert ImageTraits.of(picture(pixels)).light.repeated_rows > 0.9


def test_of_a_set():
    images = [
        ImageTraits((10, 30), turned=False, colour=True, highest=700, **light(546, 364, 0.1)),
        ImageTraits((20, 15), turned=True, colour=True, highest=None, **light(40, 50, 0.2, 0.12345)),
        ImageTraits((20, 15), turned=True, colour=True, highest=3000, **light(1365, 546, 0)),
    ]
    found = Traits.of(images)
    assert (found.largest, found.usual, found.turned) == ((20, 30), (20, 15), 2)
    assert (found.colour, found.white) == (True, 4095)
    # 16-bit values in units of 4095 / 255.
    assert found.exposure == Exposure(
        mean=(34, 85),
        deviation=(22.667, 50),
        repeated_rows=0.2,
        sharpness=0.1235,
        levels=((0, 51), (34, 85), (56.667, 119)),
    )
    assert Traits.of(images[1:2]).white is None
    assert Traits.of(images[:2]).usual == (20, 15)  # of two shapes the narrower one
    grey = ImageTraits((5, 5), turned=False, colour=False, highest=None, **light())
    assert Traits.of([grey]).colour is False
    assert Traits.of([grey, *images]).colour is None


def test_orientation_and_shrinking_are_logged(caplog):
    with caplog.at_level(logging.WARNING):
        Traits((3000, 4000), (3000, 4000), turned=3, colour=True, white=None, exposure=EXPOSURE).log((192, 256))
    first, second = caplog.messages
    assert first == "3 pictures would be turned by a viewer; here orientation is ignored, in pictures and in videos"
    assert "4000x3000 are shrunk 15.6 x 15.6 times to 256x192" in second
    assert "smaller than about 62 pixels may not be seen: crop to the part" in second
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        Traits((3000, 4000), (3000, 4000), turned=0, colour=True, white=None, exposure=EXPOSURE).log(
            (192, 256), (400, 600)
        )
    assert "600x400 are shrunk 2.3 x 2.1 times to 256x192" in caplog.text
    assert "crop" not in caplog.text, "they are cropped already"
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        Traits((300, 400), (300, 400), turned=0, colour=True, white=None, exposure=EXPOSURE).log((192, 256))
    assert caplog.messages == []

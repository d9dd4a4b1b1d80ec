"""Pictures become squares as the first paper's released code makes them."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from published_formats import noise, write_picture

from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image
from trainer.protocols.formats.pictures import area_square, bicubic_square, read_squares


def naive_area(picture, side):
    """Means over areas by the share of each pixel that lies in them, for shrinking alone."""
    height, width = picture.shape[:2]
    tall = int(side * height / width) if height > width else side
    wide = side if height > width else int(side * width / height)
    resized = np.zeros((tall, wide, 3))
    for row in range(tall):
        for column in range(wide):
            top, bottom = row * height / tall, (row + 1) * height / tall
            left, right = column * width / wide, (column + 1) * width / wide
            for y in range(int(top), min(height, int(np.ceil(bottom)))):
                for x in range(int(left), min(width, int(np.ceil(right)))):
                    share = (min(bottom, y + 1) - max(top, y)) * (min(right, x + 1) - max(left, x))
                    resized[row, column] += share * picture[y, x]
            resized[row, column] /= (bottom - top) * (right - left)
    top, left = (tall - side) // 2, (wide - side) // 2
    return resized[top : top + side, left : left + side]


@pytest.mark.parametrize("size", [(16, 16), (21, 30), (30, 21), (40, 17), (17, 40), (64, 8)])
def test_area_square_against_a_naive_one(size):
    picture = noise(0, *size, 3)
    found = area_square(picture, 8)
    assert found.shape == (8, 8, 3)
    assert np.abs(found - naive_area(picture, 8)).max() <= 0.51  # rounded, and OpenCV's own fractions are of 32 bits


@given(st.integers(1, 200), st.integers(1, 200))
def test_area_square_of_any_size(height, width):
    assert area_square(noise(0, height, width, 3), 64).shape == (64, 64, 3)


@given(st.integers(0, 120), st.integers(1, 80), st.integers(0, 99))
def test_bicubic_square_is_pillows(more, side, seed):
    """It shrinks, as the protocol does; pictures of a few pixels enlarged were seen to differ by 2."""
    extent = side + more
    picture = noise(seed, extent, extent, 3)
    wanted = np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC))
    assert np.abs(bicubic_square(picture, side).astype(int) - wanted).max() <= 1


def test_bicubic_square_differs_from_pillow_in_hardly_any_value():
    """Pillow's weights have 22 bits after the point."""
    for picture in (noise(0, 158, 158, 3), cv2.GaussianBlur(noise(1, 158, 158, 3), (0, 0), 4)):
        wanted = np.asarray(Image.fromarray(picture).resize((64, 64)))
        assert np.mean(bicubic_square(picture, 64) != wanted) < 0.001


def test_squares_come_in_order_as_rgb(tmp_path, capsys):
    paths = [tmp_path / f"{n}.png" for n in range(40)]
    for n, path in enumerate(paths):
        write_picture(path, cv2.GaussianBlur(noise(n, 20, 30, 3), (0, 0), 2))
    squares = read_squares(paths, 8, area_square, "reading squares")
    assert squares.shape == (40, 3, 8, 8)
    assert squares.dtype == np.uint8
    for path, square in zip(paths, squares, strict=True):
        blue, green, red = cv2.split(area_square(read_image(path), 8))
        assert np.array_equal(square, [red, green, blue])
    assert "reading squares: 40/40" in capsys.readouterr().err


def test_a_damaged_picture_is_named(tmp_path):
    paths = [tmp_path / f"{n}.jpg" for n in range(5)]
    for path in paths:
        write_picture(path, noise(0, 90, 90, 3))
    paths[3].write_bytes(paths[3].read_bytes()[:1000])
    with pytest.raises(InputError, match=r"3\.jpg"):
        read_squares(paths, 8, area_square, "reading")

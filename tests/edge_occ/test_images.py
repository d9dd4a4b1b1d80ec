from __future__ import annotations

import random
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import edge_occ.images as images_module
from edge_occ.errors import InputError
from edge_occ.images import find_images, read_image, read_image_with_facts


def noise(shape, dtype=np.uint8, low=0, high=None, seed=0):
    high = high if high is not None else np.iinfo(dtype).max + 1
    return np.random.RandomState(seed).randint(low, high, shape).astype(dtype)


def smooth(height=60, width=80):
    """A colour picture that JPEG leaves nearly as it is."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 2, columns * 2, rows + columns], axis=2).astype(np.uint8)


def save(path, pixels, *params):
    assert cv2.imwrite(str(path), pixels, list(params))
    return path


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".PNG"])
def test_lossless_colour_comes_back_as_it_was(tmp_path, suffix):
    pixels = noise((9, 13, 3))
    image, facts = read_image_with_facts(save(tmp_path / f"a{suffix}", pixels))
    assert image.dtype == np.uint8
    assert facts == frozenset()
    np.testing.assert_array_equal(image, pixels)


def test_jpeg_comes_back_nearly_as_it_was(tmp_path):
    image = read_image(save(tmp_path / "a.jpg", smooth(), cv2.IMWRITE_JPEG_QUALITY, 95))
    assert np.abs(image.astype(int) - smooth()).max() < 12


def test_grey_becomes_three_equal_channels(tmp_path):
    pixels = noise((7, 5))
    image, facts = read_image_with_facts(save(tmp_path / "a.png", pixels))
    assert facts == {"grey"}
    assert image.shape == (7, 5, 3)
    for channel in range(3):
        np.testing.assert_array_equal(image[:, :, channel], pixels)


def test_alpha_is_dropped_not_blended(tmp_path):
    pixels = noise((7, 5, 4))
    image, facts = read_image_with_facts(save(tmp_path / "a.png", pixels))
    assert facts == {"alpha"}
    np.testing.assert_array_equal(image, pixels[:, :, :3])
    assert image.flags.c_contiguous


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image, facts = read_image_with_facts(save(tmp_path / "a.png", pixels))
    assert facts == {"16-bit", "grey"}
    np.testing.assert_array_equal(image[:, :, 1], np.rint(pixels / 257))


def test_eight_bit_data_widened_to_sixteen_comes_back_exactly(tmp_path):
    pixels = noise((6, 6, 3))
    image = read_image(save(tmp_path / "a.tiff", pixels.astype(np.uint16) * 257))
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_twelve_bit_data_is_refused_with_the_factor(tmp_path, channels):
    pixels = noise((6, 6, channels), np.uint16, high=4096)
    pixels[0, 0, 0] = 4095
    if channels == 4:
        pixels[:, :, 3] = 65535  # opaque, and no measure of the picture's range
    path = save(tmp_path / "dark.png", pixels)
    with pytest.raises(InputError, match=r"dark\.png with a highest value of 4095.*16 for 12-bit"):
        read_image(path)
    pixels[0, 0, 0] = 4096
    assert read_image(save(path, pixels))[0, 0, 0] == 16


def test_float_pictures_are_refused(tmp_path):
    path = save(tmp_path / "a.tiff", np.ones((4, 4), np.float32))
    with pytest.raises(InputError, match="1 channels of float32"):
        read_image(path)


def png(colour_type, depth, width, height, rows, *chunks):
    """A PNG file from its scan lines, for kinds that OpenCV reads but does not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    middle = b"".join(chunk(*c) for c in chunks)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png(4, 8, 2, 1, b"\0\x0a\xff\x14\x00"), [[10] * 3, [20] * 3], id="grey with alpha"),
        pytest.param(png(0, 1, 2, 1, b"\0\x40"), [[0] * 3, [255] * 3], id="one bit"),
        pytest.param(
            png(3, 8, 2, 1, b"\0\0\1", (b"PLTE", bytes([1, 2, 3, 4, 5, 6]))), [[3, 2, 1], [6, 5, 4]], id="palette"
        ),
    ],
)
def test_unusual_png_files(tmp_path, data, expected):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_image(path).tolist() == [expected]


def test_exif_orientation_is_ignored(tmp_path):
    jpeg = bytes(cv2.imencode(".jpg", smooth(20, 40))[1])
    # Big-endian TIFF header, one entry: orientation (0x0112), a short, turned by 90 degrees (6).
    tiff = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0) + b"\0\0\0\0"
    exif = b"Exif\0\0" + tiff
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    assert cv2.imread(str(path)).shape == (40, 20, 3), "the test's EXIF block must be understood"
    np.testing.assert_array_equal(read_image(path), cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".bmp", ".webp"])
def test_truncated_pictures_are_refused(tmp_path, suffix):
    whole = bytes(cv2.imencode(suffix, noise((64, 64, 3)))[1])
    path = tmp_path / f"half{suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged, incomplete or no picture"):
        read_image(path)
    path.write_bytes(whole)
    assert read_image(path).shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "x.png, which is empty"), (b"hello", "x.png, which is damaged"), (None, "x.png: No such file")],
)
def test_what_is_no_picture_is_refused_by_name(tmp_path, content, found):
    path = tmp_path / "x.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert found in caught.value.found
    assert caught.value.exit_code == 2


def test_a_folder_is_no_picture(tmp_path):
    with pytest.raises(InputError, match="Is a directory"):
        read_image(tmp_path)


def test_large_files_are_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "big.png"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse, and more than memory could take
    with pytest.raises(InputError, match=r"at most 256 MiB; found .*big\.png with 1048576 MiB"):
        read_image(path)
    monkeypatch.setattr(images_module, "MAX_FILE_BYTES", save(path, smooth()).stat().st_size)
    assert read_image(path).shape == smooth().shape, "a file of exactly the limit is read"


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0"]))
def test_random_bytes_are_read_or_refused(tmp_path_factory, data, head):
    path = tmp_path_factory.getbasetemp() / "random.png"
    path.write_bytes(head + data)
    try:
        image = read_image(path)
    except InputError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(paths):
    return [path.name for path in paths]


def test_pictures_of_a_folder_in_natural_order(tmp_path):
    touch(tmp_path, "img10.png", "img2.PNG", "img1.jpeg", "notes.txt", "._img1.png", "deep/img3.png")
    assert names(find_images(tmp_path)) == ["img1.jpeg", "img2.PNG", "img10.png"]
    assert names(find_images(f"{tmp_path}/")) == ["img1.jpeg", "img2.PNG", "img10.png"]


def test_patterns(tmp_path):
    touch(tmp_path, "a1.png", "a2.jpg", "b1.png", "deep/er/a3.png")
    assert names(find_images(f"{tmp_path}/a*")) == ["a1.png", "a2.jpg"]
    assert names(find_images(f"{tmp_path}/a?.png")) == ["a1.png"]
    assert names(find_images(f"{tmp_path}/**/a*.png")) == ["a1.png", "a3.png"]
    assert names(find_images(tmp_path / "b1.png")) == ["b1.png"]


def test_a_folder_or_file_with_pattern_signs_in_its_name_is_meant_literally(tmp_path):
    touch(tmp_path, "set[1]/x.png", "set1/y.png", "z[1].png", "z1.png")
    assert names(find_images(tmp_path / "set[1]")) == ["x.png"]
    assert names(find_images(tmp_path / "z[1].png")) == ["z[1].png"]


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=30))
def test_numbers_are_ordered_as_numbers(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("many")
    touch(folder, *[f"part{n}_a.png" for n in numbers])
    assert names(find_images(folder)) == [f"part{n}_a.png" for n in sorted(numbers)]


def test_order_does_not_depend_on_the_file_system(tmp_path):
    same_number = ["a1.png", "a01.png", "A1.png", "1.png", "b.png"]
    random.Random(0).shuffle(same_number)
    touch(tmp_path, *same_number)
    assert names(find_images(tmp_path)) == ["1.png", "A1.png", "a01.png", "a1.png", "b.png"]


def test_empty_and_missing_folders_are_refused(tmp_path):
    touch(tmp_path, *[f"{n}.txt" for n in range(12)])
    with pytest.raises(InputError, match="0 pictures among 12 files;"):
        find_images(tmp_path)
    touch(tmp_path, "train/a.png", "test/b.png")
    with pytest.raises(InputError, match="0 pictures among 12 files and 2 folders; name one of these"):
        find_images(tmp_path)
    with pytest.raises(InputError, match=r"nothing named .*missing"):
        find_images(tmp_path / "missing")
    with pytest.raises(InputError, match=r"nothing named .*\*\.png"):
        find_images(f"{tmp_path}/*.png")


@pytest.mark.data
def test_real_pictures(shared_data):
    paths = find_images(shared_data / "mvtec_ad" / "screw" / "train" / "good")
    assert len(paths) == 320
    image, facts = read_image_with_facts(paths[0])
    assert image.shape == (256, 256, 3)
    assert facts <= {"grey"}

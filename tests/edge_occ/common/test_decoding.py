"""Picture files decoded: by the same rules whatever the format, and within bounds."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import add_exif, png_file, tiff_file

import edge_occ.common.decoding as decoding_module
from edge_occ.common.decoding import decode_image, has_colour, to_8_bit, white_level
from edge_occ.common.errors import InputError
from edge_occ.common.images import read_image, read_unconverted


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
    picture = decode_image(save(tmp_path / f"a{suffix}", pixels))
    assert picture.pixels.dtype == np.uint8
    assert picture.conversions == frozenset()
    np.testing.assert_array_equal(picture.pixels, pixels)


def test_jpeg_comes_back_nearly_as_it_was(tmp_path):
    image = read_image(save(tmp_path / "a.jpg", smooth(), cv2.IMWRITE_JPEG_QUALITY, 95))
    assert np.abs(image.astype(int) - smooth()).max() < 12


def test_grey_becomes_three_equal_channels(tmp_path):
    pixels = noise((7, 5))
    picture = decode_image(save(tmp_path / "a.png", pixels))
    assert picture.conversions == {"grey"}
    assert picture.pixels.shape == (7, 5, 3)
    assert not has_colour(picture.pixels)
    for channel in range(3):
        np.testing.assert_array_equal(picture.pixels[:, :, channel], pixels)


def test_alpha_is_dropped_not_blended(tmp_path):
    pixels = noise((7, 5, 4))
    picture = decode_image(save(tmp_path / "a.png", pixels))
    assert picture.conversions == {"alpha"}
    assert has_colour(picture.pixels)
    np.testing.assert_array_equal(picture.pixels, pixels[:, :, :3])
    assert picture.pixels.flags.c_contiguous


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 65535])
def test_every_16_bit_value_is_rounded_to_eight_bits_and_cut_at_white(tmp_path, white):
    pixels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    path = save(tmp_path / "a.png", pixels)
    picture = decode_image(path)
    assert picture.conversions == {"16-bit", "grey"}
    assert picture.pixels.dtype == np.uint16, "the scale is no matter of one picture"
    wanted = np.minimum(255, np.rint(pixels * (255 / white)))
    np.testing.assert_array_equal(to_8_bit(picture.pixels, white)[:, :, 1], wanted)
    np.testing.assert_array_equal(read_image(path, white)[:, :, 2], wanted)


def test_eight_bit_data_widened_to_sixteen_comes_back_exactly(tmp_path):
    pixels = noise((6, 6, 3))
    image = read_image(save(tmp_path / "a.tiff", pixels.astype(np.uint16) * 257))
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize(
    ("highest", "white"),
    [(0, 255), (255, 255), (256, 1023), (1023, 1023), (4095, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
def test_white_is_the_top_of_the_smallest_depth_that_holds_the_set(highest, white):
    assert white_level(highest) == white


def test_a_dark_picture_of_a_known_set_stays_dark(tmp_path):
    path = save(tmp_path / "lamp_off.png", np.full((6, 6), 700, np.uint16))
    assert read_image(path, white=65535).tolist() == np.full((6, 6, 3), 3).tolist()
    assert read_image(path, white=4095)[0, 0, 0] == 44


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_12_bit_data_of_an_unknown_set_are_refused(tmp_path, channels):
    pixels = noise((6, 6, channels), np.uint16, high=4096)
    pixels[0, 0, 0] = 4095
    if channels == 4:
        pixels[:, :, 3] = 65535  # opaque, and no measure of the picture's range
    path = save(tmp_path / "dark.png", pixels)
    with pytest.raises(InputError, match=r"dark\.png with a highest value of 4095.*12-bit.*train with 16-bit pictures"):
        read_image(path)
    pixels[0, 0, 0] = 4096
    assert read_image(save(path, pixels))[0, 0, 0] == 16


def test_masks_are_read_as_they_are(tmp_path):
    for pixels in (
        np.array([[0, 1]], np.uint16),
        np.array([[0, 1]], np.uint8),
        noise((4, 5, 4)),
        np.array([[0, 0.5]], np.float32),
    ):
        found = read_unconverted(save(tmp_path / "mask.tiff", pixels))
        assert found.dtype == pixels.dtype
        np.testing.assert_array_equal(found, pixels)


def test_float_pictures_are_refused(tmp_path):
    path = save(tmp_path / "a.tiff", np.ones((4, 4), np.float32))
    with pytest.raises(InputError, match="1 channels of float32"):
        read_image(path)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(png_file(4, 8, 2, 1, b"\0\x0a\xff\x14\x00"), [[10] * 3, [20] * 3], id="grey with alpha"),
        pytest.param(png_file(0, 1, 2, 1, b"\0\x40"), [[0] * 3, [255] * 3], id="one bit"),
        pytest.param(
            png_file(3, 8, 2, 1, b"\0\0\1", (b"PLTE", bytes([1, 2, 3, 4, 5, 6]))), [[3, 2, 1], [6, 5, 4]], id="palette"
        ),
    ],
)
def test_unusual_png_files(tmp_path, data, expected):
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_image(path).tolist() == [expected]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_reported_and_ignored(tmp_path, suffix, orientation):
    plain = bytes(cv2.imencode(suffix, smooth(20, 40))[1])
    path = tmp_path / f"a{suffix}"
    path.write_bytes(add_exif(plain, orientation))
    if suffix == ".jpg" and orientation == 6:
        assert cv2.imread(str(path)).shape == (40, 20, 3), "the test's EXIF block must be understood"
    picture = decode_image(path)
    assert picture.orientation == orientation
    np.testing.assert_array_equal(picture.pixels, cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation_is_reported_and_ignored(tmp_path, orientation, dtype):
    pixels = noise((5, 7, 3), dtype)
    path = tmp_path / "a.tiff"
    path.write_bytes(tiff_file(pixels, orientation))
    picture = decode_image(path)
    assert picture.orientation == orientation
    np.testing.assert_array_equal(picture.pixels, pixels)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tiff", ".bmp", ".webp", ".jp2", ".ppm", ".sr"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_pictures_are_refused(tmp_path, suffix, share):
    whole = bytes(cv2.imencode(suffix, noise((64, 64, 3)))[1])
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="damaged, incomplete or no picture"):
        read_image(path)
    path.write_bytes(whole)
    assert read_image(path).shape == (64, 64, 3)


def test_a_truncated_jpeg_with_a_whole_preview_is_refused(tmp_path):
    """The preview in the EXIF data of a phone's picture is a JPEG file with an end of its own."""
    preview = bytes(cv2.imencode(".jpg", smooth(8, 8))[1])
    whole = add_exif(bytes(cv2.imencode(".jpg", noise((64, 64, 3)))[1]), 1, preview)
    path = tmp_path / "phone.jpg"
    path.write_bytes(whole)
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(whole[: len(whole) // 2])
    assert preview in path.read_bytes()
    with pytest.raises(InputError, match="incomplete"):
        read_image(path)


def bombs():
    """Small files that claim 30,000 x 30,000 pixels, by suffix, and what each says of its size."""
    side = 30_000
    sun = bytes(cv2.imencode(".sr", smooth())[1])
    tiff = tiff_file(smooth(), 1, width=side, height=side)
    return {
        ".png": png_file(2, 8, side, side, b"\0" * 1000),
        ".ppm": b"P6\n# a comment\n%d %d\n255\n" % (side, side) + bytes(1000),
        ".sr": sun[:4] + struct.pack(">II", side, side) + sun[12:],
        ".tiff": tiff,
        ".bmp": b"BM" + struct.pack("<IIIIiiHH", 1054, 0, 54, 40, side, -side, 1, 24) + bytes(1024),
        ".webp": b"RIFF"
        + struct.pack("<I", 1000)
        + b"WEBPVP8X"
        + struct.pack("<IIIH", 10, 0, 29_999 | 47 << 24, 117)
        + bytes(1000),
    }


@pytest.mark.parametrize("suffix", sorted(bombs()))
def test_what_claims_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr(decoding_module.cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(bombs()[suffix])
    with pytest.raises(InputError, match=r"at most 200 million pixels; found .*bomb.* with 30000x30000; crop it"):
        read_image(path)


def test_opencv_itself_holds_to_the_limit_for_formats_whose_header_is_not_read(tmp_path):
    """In a process of its own, as OpenCV reads the limit when it is loaded."""
    path = tmp_path / "unknown.png"
    path.write_bytes(png_file(0, 8, 20_001, 10_000, zlib.compress(b"")))
    code = (
        "import sys\nimport edge_occ.common.decoding as decoding\nfrom edge_occ.common.errors import InputError\n"
        "decoding.read_header = lambda data: None\n"
        "try:\n    decoding.decode_image(sys.argv[1])\nexcept InputError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "at most 200 million pixels; found" in done.stdout


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
    monkeypatch.setattr(decoding_module, "MAX_FILE_BYTES", save(path, smooth()).stat().st_size)
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

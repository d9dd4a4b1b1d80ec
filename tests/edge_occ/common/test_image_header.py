"""Headers of picture files: the size that the decoder will find, and whether the file is whole."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_files import add_exif, png_file, tiff_file

from edge_occ.common.image_header import Header, read_header
from edge_occ.common.tiff import ORIENTATION, first_directory, with_orientation

SUFFIXES = [".jpg", ".png", ".webp", ".tiff", ".bmp", ".gif", ".avif", ".jp2", ".ppm", ".pam", ".sr", ".hdr", ".pfm"]


def encoded(suffix, height=30, width=41, channels=3):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (height, width, channels)).astype(np.uint8)
    if suffix in (".hdr", ".pfm"):
        pixels = pixels.astype(np.float32)
    try:
        done, data = cv2.imencode(suffix, pixels)
    except cv2.error:
        done = False
    if not done:
        pytest.skip(f"this OpenCV does not write {suffix}")
    return bytes(data)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("height", "width"), [(30, 41), (300, 257), (1, 1)])
def test_the_size_is_what_opencv_decodes(suffix, height, width):
    data = encoded(suffix, height, width)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).shape[:2] == (height, width)
    assert read_header(data) == Header(width, height)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("quality", [80, 101])
def test_every_kind_of_webp(channels, quality):
    pixels = np.random.default_rng(0).integers(0, 256, (70, 50, channels)).astype(np.uint8)
    data = bytes(cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])[1])
    assert read_header(data) == Header(50, 70)


def test_a_progressive_jpeg_with_restart_markers_is_whole():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
    data = bytes(cv2.imencode(".jpg", pixels, options)[1])
    assert data.count(b"\xff\xda") > 1, "several scans"
    assert read_header(data) == Header(80, 64)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_file_that_ends_early_is_not_whole_wherever_it_is_cut(suffix):
    data = add_exif(encoded(suffix), 6)
    assert read_header(data) == Header(41, 30, orientation=6)
    least = 4 if suffix != ".webp" else 1
    for end in range(len(data) - least):
        header = read_header(data[:end])
        assert header is None or not header.whole, end
    assert read_header(data + b"what a camera appends").whole


def test_bytes_in_the_data_that_look_like_an_end_are_none():
    """A comment segment that holds an end of image, and a PNG chunk that holds IEND."""
    jpeg = encoded(".jpg")
    comment = b"\xff\xfe" + struct.pack(">H", 6) + b"\xff\xd9\xff\xd9"
    with_comment = jpeg[:2] + comment + jpeg[2:]
    assert read_header(with_comment) == Header(41, 30)
    assert not read_header(with_comment[:-2]).whole
    png = png_file(0, 8, 1, 1, b"\0\0", (b"tEXt", b"IEND" * 3))
    assert read_header(png) == Header(1, 1)
    assert not read_header(png[:-12]).whole


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_and_bigtiff_in_both_orders(order, big):
    """Width as a long, height as a short, orientation; all others are left out."""
    count, offset, version = ("Q", "Q", 43) if big else ("I", "I", 42)
    pad = 4 if big else 0

    def entry(tag, kind, letter, value):
        raw = struct.pack(order + letter, value)
        return struct.pack(order + "HH" + count, tag, kind, 1) + raw.ljust(4 + pad, b"\0")

    entries = [entry(256, 4, "I", 70_000), entry(257, 3, "H", 300), entry(270, 2, "I", 7), entry(274, 3, "H", 8)]
    start = struct.pack(order + "HHHQ", version, 8, 0, 16) if big else struct.pack(order + "HI", version, 8)
    number = struct.pack(order + ("Q" if big else "H"), len(entries))
    data = (b"II" if order == "<" else b"MM") + start + number + b"".join(entries) + struct.pack(order + offset, 0)
    assert read_header(data) == Header(70_000, 300, orientation=8)
    changed = with_orientation(data, 1)
    assert first_directory(changed) == {**first_directory(data), ORIENTATION: 1}
    assert len(changed) == len(data)


def test_os2_bitmaps():
    header = b"BM" + struct.pack("<IIIIHHHH", 26, 0, 26, 12, 40_000, 50_000, 1, 24)
    assert read_header(header) == Header(40_000, 50_000)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff", b"II*\0", b"P6 none", b"P7\nWIDTH\n", b"#?RADIANCE\n"]
)
def test_what_makes_no_sense_has_no_header(data):
    header = read_header(data)
    assert header is None or not header.whole


_HEADS = [
    b"\xff\xd8\xff\xe1\x00\x10Exif\0\0",
    b"\xff\xd8\xff\xc0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"RIFF\x10\0\0\0WEBPVP8X",
    b"RIFF\x10\0\0\0WEBPVP8L",
    b"II*\0\x08\0\0\0",
    b"MM\0+\0\x08\0\0",
    b"BM",
    b"GIF89a",
    b"\0\0\0\x18ftypavif",
    b"\xff\x4f\xff\x51",
    b"P5\n",
    b"P7\n",
    b"\x59\xa6\x6a\x95",
    b"#?RGBE\n",
]


@given(st.sampled_from(_HEADS), st.binary(max_size=300))
def test_random_bytes_are_understood_or_not_but_never_raise(head, data):
    header = read_header(head + data)
    assert header is None or 1 <= header.orientation <= 8


@given(st.binary(max_size=40), st.integers(0, 60), st.integers(0, 255))
def test_a_damaged_tiff_never_raises(tail, place, value):
    data = bytearray(tiff_file(np.zeros((2, 2, 3), np.uint8), 3) + tail)
    data[place % len(data)] = value
    header = read_header(bytes(data))
    assert header is None or isinstance(header.width, int)

"""The idx format, plain and packed."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_formats import idx, noise

from edge_occ.common.errors import InputError
from trainer.protocols.formats.idx import read_idx

IMAGES = noise(0, 5, 4, 3)


def write(folder, content, *, packed=False):
    path = folder / ("file-idx.gz" if packed else "file-idx")
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@given(st.lists(st.integers(0, 6), min_size=1, max_size=3), st.integers(0, 99), st.booleans())
def test_any_array_value_by_value(tmp_path_factory, shape, seed, packed):
    array = noise(seed, *shape)
    path = write(tmp_path_factory.getbasetemp(), idx(array), packed=packed)
    found = read_idx(path, array.ndim, "")
    assert found.shape == array.shape
    assert found.dtype == np.uint8
    content = idx(array)[4 + 4 * array.ndim :]
    assert [int(value) for value in found.flat] == [content[place] for place in range(array.size)]


def test_the_array_that_is_read_is_writable(tmp_path):
    read_idx(write(tmp_path, idx(IMAGES)), 3, "")[0] = 0


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("magic", [2049, 2052, 0x0D03, 0x03080000])
def test_a_wrong_magic_number(tmp_path, magic, packed):
    content = struct.pack(">I", magic) + idx(IMAGES)[4:]
    with pytest.raises(InputError, match=f"magic number 2051.*found {magic}; get it"):
        read_idx(write(tmp_path, content, packed=packed), 3, "get it")


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_expected_and_found(tmp_path, packed):
    with pytest.raises(InputError, match=r"60 bytes of content.*found 59 bytes"):
        read_idx(write(tmp_path, idx(IMAGES)[:-1], packed=packed), 3, "")
    with pytest.raises(InputError, match=r"60 bytes of content.*found more"):
        read_idx(write(tmp_path, idx(IMAGES) + b"x", packed=packed), 3, "")
    with pytest.raises(InputError, match=r"header of 16 bytes.*found 7 bytes"):
        read_idx(write(tmp_path, idx(IMAGES)[:7], packed=packed), 3, "")


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_a_packed_file_cut_short(tmp_path, kept):
    whole = gzip.compress(idx(noise(1, 50, 28, 28)))
    path = tmp_path / "file.gz"
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(InputError, match=f"whole gzip file.*found a truncated file of {path.stat().st_size:,} bytes"):
        read_idx(path, 3, "")


def test_packed_files_that_are_damaged_or_none(tmp_path):
    path = tmp_path / "file.gz"
    path.write_bytes(idx(IMAGES))
    with pytest.raises(InputError, match="damaged or of another kind"):
        read_idx(path, 3, "")
    packed = bytearray(gzip.compress(idx(noise(1, 50, 28, 28))))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(packed)
    with pytest.raises(InputError, match=r"damaged or of another kind|truncated|found more|bytes of content"):
        read_idx(path, 3, "")


def test_a_bomb_is_not_unpacked(tmp_path):
    """300 MB of zeros behind a header of 60 bytes, and a header of 4 GB."""
    path = tmp_path / "file.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(idx(IMAGES))
        for _ in range(300):
            file.write(bytes(2**20))
    with pytest.raises(InputError, match="found more"):
        read_idx(path, 3, "")
    with pytest.raises(InputError, match="a header of 4,294,967,295"):
        read_idx(write(tmp_path, struct.pack(">II", 2049, 2**32 - 1)), 1, "")


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_idx(tmp_path / "none.gz", 1, "")

"""The binary version of CIFAR."""

import numpy as np
import pytest
from published_formats import cifar_bin, noise

from edge_occ.common.errors import InputError
from trainer.protocols.formats.cifar import read_cifar

IMAGES = noise(0, 7, 3, 32, 32)
LABELS = np.array([[n % 20, 99 - n] for n in range(7)], np.uint8)


@pytest.mark.parametrize("labels", [1, 2])
def test_records_byte_by_byte(tmp_path, labels):
    path = tmp_path / "x.bin"
    path.write_bytes(cifar_bin(LABELS[:, :labels], IMAGES))
    images, found = read_cifar(path, labels, 7, "")
    content = path.read_bytes()
    assert found.tolist() == [content[n * (labels + 3072)] for n in range(7)]
    for image, channel, row, column in [(0, 0, 0, 0), (3, 1, 31, 2), (6, 2, 5, 31), (6, 2, 31, 31)]:
        place = image * (labels + 3072) + labels + channel * 1024 + row * 32 + column
        assert images[image, channel, row, column] == content[place]


@pytest.mark.parametrize("cut", [1, 100, 3072])
def test_a_file_of_the_wrong_size_is_refused_with_its_number_of_bytes(tmp_path, cut):
    path = tmp_path / "data_batch_1.bin"
    content = cifar_bin(LABELS[:, :1], IMAGES)
    path.write_bytes(content[:-cut])
    with pytest.raises(InputError) as caught:
        read_cifar(path, 1, 10_000, "get it")
    assert caught.value.expected == f"30,730,000 bytes in {path}, or whole records of 3,073"
    assert caught.value.found == f"{len(content) - cut:,} bytes"
    assert caught.value.advice == "get it"


def test_empty_huge_and_missing_files(tmp_path):
    path = tmp_path / "x.bin"
    path.touch()
    with pytest.raises(InputError, match="found 0 bytes"):
        read_cifar(path, 1, 10_000, "")
    with path.open("wb") as file:
        file.truncate(2**33)  # of no blocks on disk
    with pytest.raises(InputError, match=f"at most 153,650,000 bytes.*found {2**33:,} bytes"):
        read_cifar(path, 1, 10_000, "")
    with pytest.raises(InputError, match="No such file"):
        read_cifar(tmp_path / "none", 1, 10_000, "")

"""Finding a data set, and telling one state of it from another."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from published_formats import cifar_bin, noise, write_picture

from edge_occ.common.errors import InputError
from trainer.protocols import PROTOCOLS, find_protocol
from trainer.protocols.cat_vs_dog import CAT_VS_DOG
from trainer.protocols.cifar import CIFAR100

SMALL = replace(CIFAR100, train_images=1, test_images=1)


@pytest.fixture
def data(tmp_path):
    """A folder of data sets with a small CIFAR-100 in it."""
    folder = tmp_path / "data" / "cifar-100-binary"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train", "test")):
        labels = np.stack([np.arange(20), np.arange(20)], 1)
        (folder / f"{name}.bin").write_bytes(cifar_bin(labels, noise(seed, 20, 3, 32, 32)))
    return folder.parent


def test_all_protocols_by_name():
    assert list(PROTOCOLS) == ["cifar10", "cifar100", "fmnist", "catdog", "celeba"]
    assert [len(each.categories) for each in PROTOCOLS.values()] == [10, 20, 10, 2, 1]
    assert [each.side for each in PROTOCOLS.values()] == [32, 32, 32, 64, 64]
    assert all("https://" in each.advice for each in PROTOCOLS.values())
    assert find_protocol("fmnist").title == "Fashion-MNIST"
    with pytest.raises(InputError, match="cifar10, cifar100, fmnist, catdog, celeba; found 'mnist'"):
        find_protocol("mnist")


def test_the_folder_of_all_data_sets_or_the_data_sets_own(data):
    assert SMALL.find(data) == SMALL.find(data / "cifar-100-binary") == data / "cifar-100-binary"
    assert len(SMALL.load(data, "trees").test) == 20


@pytest.mark.parametrize("name", PROTOCOLS)
def test_foreign_folders(tmp_path, name):
    protocol = PROTOCOLS[name]
    for part in ("train/good", "test/good", "ground_truth"):  # of MVTec, whose train and test are no files
        (tmp_path / part).mkdir(parents=True)
    write_picture(tmp_path / "train" / "good" / "0.png", noise(0, 8, 8, 3))
    with pytest.raises(InputError) as caught:
        protocol.load(tmp_path, protocol.categories[0])
    assert f"{protocol.title} in {tmp_path}, or in {protocol.folders[0]}" in caught.value.expected
    assert caught.value.found == "ground_truth, test, train"
    assert caught.value.advice == protocol.advice
    with pytest.raises(InputError, match="found no such folder; name an existing one with --data"):
        protocol.available(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="found an empty folder"):
        protocol.available(tmp_path / "empty")


def test_a_long_list_of_foreign_files_is_cut(tmp_path):
    for number in range(11):
        (tmp_path / f"{number:02}.txt").touch()
    with pytest.raises(InputError, match=r"00\.txt, 01\.txt, .*07\.txt and 3 more;"):
        SMALL.find(tmp_path)


def test_files_that_are_missing_are_named(data):
    (data / "cifar-100-binary" / "test.bin").unlink()
    with pytest.raises(
        InputError, match=r"all files of CIFAR-100 in .*cifar-100-binary; found no test\.bin; get cifar-100"
    ):
        SMALL.find(data)


def test_unknown_categories_are_refused_before_reading(tmp_path):
    for call in (SMALL.load, SMALL.fingerprint):
        with pytest.raises(InputError, match=r"a category of CIFAR-100: aquatic_mammals, fish,.*found 'tree'"):
            call(tmp_path / "none", "tree")


def test_fingerprints_are_of_contents_category_and_data_set(data, tmp_path):
    first = SMALL.fingerprint(data, "fish")
    copy = shutil.copytree(data, tmp_path / "copy")
    os.utime(copy / "cifar-100-binary" / "train.bin", (1, 1))
    (copy / "cifar-100-binary" / "fine_label_names.txt").write_text("not read")
    assert SMALL.fingerprint(copy / "cifar-100-binary", "fish") == first
    assert SMALL.fingerprint(data, "trees") != first
    assert replace(SMALL, name="other").fingerprint(data, "fish") != first
    content = bytearray((copy / "cifar-100-binary" / "test.bin").read_bytes())
    content[-1] ^= 1
    (copy / "cifar-100-binary" / "test.bin").write_bytes(content)
    assert SMALL.fingerprint(copy, "fish") != first


def test_hashing_many_files_shows_progress(tmp_path, capsys):
    for name in ("cat", "dog"):
        for number in range(500):
            (tmp_path / f"{name}.{number}.jpg").write_bytes(bytes([number % 256]))
    first = CAT_VS_DOG.fingerprint(tmp_path, "cat")
    assert "hashing Cat-vs-Dog: 1000/1000" in capsys.readouterr().err
    (tmp_path / "dog.7.jpg").write_bytes(b"other")
    assert CAT_VS_DOG.fingerprint(tmp_path, "cat") != first


def test_nothing_here_needs_torch():
    code = "import sys, trainer.protocols; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

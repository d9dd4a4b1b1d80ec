"""CIFAR-10 and CIFAR-100, one class against the rest."""

import re
from dataclasses import replace

import numpy as np
import pytest
from published_formats import cifar_bin, noise

from edge_occ.common.errors import InputError
from trainer.protocols.cifar import CIFAR10, CIFAR100

SMALL = replace(CIFAR10, train_images=5, test_images=2)
SMALL100 = replace(CIFAR100, train_images=3, test_images=2)


def halves(data_set, leave_out=()):
    """Labels (of CIFAR-100 two each) and images of both halves, in no order."""
    for half, each in enumerate((data_set.train_images, data_set.test_images)):
        classes = [n for n in range(len(data_set.categories)) if half or n not in leave_out]
        order = np.random.default_rng(half).permutation(np.repeat(classes, each))
        extra = (7 * order + 3) % 100
        labels = np.stack([order, extra][: data_set.label_bytes], 1).astype(np.uint8)
        yield labels, noise(half + 5, len(order), 3, 32, 32)


def write(folder, data_set, leave_out=()):
    folder = folder / data_set.folders[0]
    folder.mkdir(parents=True)
    (labels, images), test = halves(data_set, leave_out)
    names = data_set.train_files
    parts = list(zip(names, np.array_split(labels, len(names)), np.array_split(images, len(names)), strict=True))
    for name, marks, pictures in [*parts, (*data_set.test_files, *test)]:
        (folder / name).write_bytes(cifar_bin(marks, pictures))
    return folder


@pytest.mark.parametrize(("data_set", "category"), [(SMALL, "airplane"), (SMALL, "truck"), (SMALL100, "trees")])
def test_one_class_against_the_rest(tmp_path, data_set, category):
    write(tmp_path, data_set)
    experiment = data_set.load(tmp_path, category)
    (labels, images), (test_labels, test_images) = halves(data_set)
    number = data_set.categories.index(category)
    train = [image for image, label in zip(images, labels, strict=True) if label[0] == number]
    assert experiment.name == f"{data_set.name} {category}"
    assert np.array_equal(experiment.train, train)
    assert np.array_equal(experiment.test, test_images)
    assert experiment.anomalous.tolist() == [bool(label[0] != number) for label in test_labels]
    assert experiment.anomalous.sum() == data_set.test_images * (len(data_set.categories) - 1)
    assert experiment.train.dtype == experiment.test.dtype == np.uint8


def test_super_classes_are_the_first_label():
    assert len(CIFAR100.categories) == 20
    assert CIFAR100.categories == tuple(sorted(CIFAR100.categories))
    assert CIFAR100.label_bytes == 2


def test_the_classes_at_hand_can_be_used(tmp_path):
    folder = write(tmp_path, SMALL, leave_out=(0, 9))
    assert SMALL.available(tmp_path) == SMALL.categories[1:9]
    assert SMALL.load(tmp_path, "deer").train.shape == (5, 3, 32, 32)
    with pytest.raises(InputError) as caught:
        SMALL.load(tmp_path, "airplane")
    assert caught.value.expected == f"5 training images of airplane of CIFAR-10 in {folder}"
    assert caught.value.found == "none, but of automobile, bird, cat, deer, dog, frog, horse, ship"
    assert "choose one of these" in caught.value.advice
    assert "https://www.cs.toronto.edu/~kriz/cifar.html" in caught.value.advice


def test_a_class_in_part_and_a_test_half_in_part(tmp_path):
    write(tmp_path, SMALL)
    with pytest.raises(InputError, match=r"6 training images of cat .*found 5"):
        replace(SMALL, train_images=6).load(tmp_path, "cat")
    with pytest.raises(InputError, match=r"3 test images of each of the 10 classes.*found 2 of airplane, 2 of auto"):
        replace(SMALL, test_images=3).load(tmp_path, "cat")


def test_labels_of_another_data_set(tmp_path):
    folder = write(tmp_path, SMALL)
    content = bytearray((folder / "data_batch_2.bin").read_bytes())
    content[0] = 77
    (folder / "data_batch_2.bin").write_bytes(content)
    for call in (SMALL.available, lambda data: SMALL.load(data, "cat")):
        with pytest.raises(InputError, match=r"labels of 0 to 9.*found a label 77"):
            call(tmp_path)


def test_a_truncated_file(tmp_path):
    path = write(tmp_path, SMALL) / "data_batch_5.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"30,730,000 bytes in .*data_batch_5\.bin.*found 30,729 bytes.*binary\.tar"):
        CIFAR10.load(tmp_path, "cat")


@pytest.mark.parametrize("data_set", [SMALL, SMALL100])
def test_the_python_version_is_refused_with_where_to_get_the_binary_one(tmp_path, data_set):
    folder = tmp_path / data_set.python_folder
    folder.mkdir()
    for name in (*data_set.train_files, *data_set.test_files):
        (folder / name.removesuffix(".bin")).write_bytes(b"\x80\x02}.")
    for data in (tmp_path, folder):
        with pytest.raises(InputError) as caught:
            data_set.load(data, data_set.categories[0])
        assert caught.value.expected.startswith(f"the binary version of {data_set.title} ({data_set.train_files[0]}")
        assert caught.value.found == f"the Python version, a pickle, in {folder}"
        assert re.match(r"get cifar-100?-binary\.tar\.gz from https://www\.cs\.toronto\.edu/", caught.value.advice)
    write(tmp_path, data_set)
    assert data_set.find(tmp_path) == tmp_path / data_set.folders[0]


@pytest.mark.data
def test_the_real_images(real_images):
    assert CIFAR10.available(real_images) == ("airplane", "deer")
    planes, deer = (CIFAR10.load(real_images, category) for category in ("airplane", "deer"))
    for experiment in (planes, deer):
        assert experiment.train.shape == (5000, 3, 32, 32)
        assert experiment.test.shape == (10000, 3, 32, 32)
        assert experiment.anomalous.sum() == 9000
    assert np.array_equal(planes.test, deer.test)
    assert not np.any(~planes.anomalous & ~deer.anomalous)
    for normal in (planes.train, planes.test[~planes.anomalous]):  # skies: blue above red
        assert normal[:, 2].mean() > normal[:, 0].mean() + 5
    for normal in (deer.train, deer.test[~deer.anomalous]):
        assert normal[:, 2].mean() < normal[:, 0].mean() - 5
    with pytest.raises(InputError, match="found none, but of airplane, deer"):
        CIFAR10.load(real_images, "bird")

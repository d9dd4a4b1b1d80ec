"""Fashion-MNIST, one class against the rest."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
from published_formats import idx, noise

from edge_occ.common.errors import InputError
from trainer.protocols.fashion_mnist import FASHION_MNIST

SMALL = replace(FASHION_MNIST, train_images=4, test_images=2)


def halves(leave_out=()):
    for half, each in enumerate((4, 2)):
        classes = [n for n in range(10) if half or n not in leave_out]
        labels = np.random.default_rng(half).permutation(np.repeat(classes, each)).astype(np.uint8)
        yield labels, noise(half, len(labels), 28, 28)


def write(folder, *, packed=True, leave_out=()):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, (labels, images) in zip(("train", "t10k"), halves(leave_out), strict=True):
        for kind, array in (("labels-idx1", labels), ("images-idx3", images)):
            path = folder / f"{stem}-{kind}-ubyte{'.gz' * packed}"
            path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    return folder


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("place", ["", "fashion_mnist", "FashionMNIST/raw"])
def test_padded_images_of_one_class_against_the_rest(tmp_path, packed, place):
    write(tmp_path / place, packed=packed)
    (labels, images), (test_labels, test_images) = halves()
    experiment = SMALL.load(tmp_path, "4")
    assert experiment.train.shape == (4, 3, 32, 32)
    assert experiment.test.shape == (20, 3, 32, 32)
    for found, wanted in (
        (experiment.train, [image for image, label in zip(images, labels, strict=True) if label == 4]),
        (experiment.test, test_images),
    ):
        for square, image in zip(found, wanted, strict=True):
            for channel in square:
                assert np.array_equal(channel[2:30, 2:30], image)
                assert channel.sum() == image.sum()  # and the margin is 0
    assert experiment.anomalous.tolist() == [bool(label != 4) for label in test_labels]
    assert experiment.name == "fmnist 4"


def test_the_classes_at_hand_can_be_used(tmp_path):
    folder = write(tmp_path / "fashion_mnist", leave_out=(1, 2, 3))
    assert SMALL.available(tmp_path) == ("0", "4", "5", "6", "7", "8", "9")
    with pytest.raises(InputError, match=r"4 training images of 2 of Fashion-MNIST.*none, but of 0, 4, 5"):
        SMALL.load(tmp_path, "2")
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InputError) as caught:
        SMALL.available(tmp_path)
    assert caught.value.expected == f"all files of Fashion-MNIST in {folder}"
    assert caught.value.found == "no train-images-idx3-ubyte.gz"
    assert "https://github.com/zalandoresearch/fashion-mnist" in caught.value.advice


def test_images_and_labels_must_fit(tmp_path):
    folder = write(tmp_path, packed=False)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(idx(noise(0, 39, 28, 28)))
    with pytest.raises(InputError, match=r"40 images of 28x28 pixels.*found 39 of 28x28"):
        SMALL.load(tmp_path, "4")
    path.write_bytes(idx(noise(0, 40, 28, 27)))
    with pytest.raises(InputError, match=r"40 images of 28x28 pixels.*found 40 of 28x27"):
        SMALL.load(tmp_path, "4")


def test_images_in_place_of_labels_and_a_file_cut_short(tmp_path):
    folder = write(tmp_path)
    path = folder / "train-labels-idx1-ubyte.gz"
    images = (folder / "train-images-idx3-ubyte.gz").read_bytes()
    path.write_bytes(images)
    with pytest.raises(InputError, match=r"magic number 2049 in .*found 2051; get its four \.gz files"):
        SMALL.available(tmp_path)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(images[:-100])
    with pytest.raises(InputError, match=r"whole gzip file.*truncated file of [\d,]+ bytes; get its four \.gz files"):
        SMALL.load(tmp_path, "4")


@pytest.mark.data
def test_the_real_images(real_images):
    assert FASHION_MNIST.available(real_images) == ("0", "4", "8")
    experiment = FASHION_MNIST.load(real_images, "8")
    assert experiment.train.shape == (6000, 3, 32, 32)
    assert experiment.test.shape == (10000, 3, 32, 32)
    assert experiment.anomalous.sum() == 9000
    assert not experiment.train[:, :, :2].any()
    assert experiment.train[:, :, 2:30, 2:30].mean() > 50
    with pytest.raises(InputError, match="found none, but of 0, 4, 8"):
        FASHION_MNIST.load(real_images, "9")

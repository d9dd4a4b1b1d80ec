"""Cat-vs-Dog: its own split, the same for everyone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from published_formats import noise, write_picture

from edge_occ.common.errors import InputError
from trainer.protocols.cat_vs_dog import CAT_VS_DOG
from trainer.protocols.formats.pictures import area_square

SMALL = replace(CAT_VS_DOG, images=13, train_images=9)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """13 pictures of each class, of different sizes, in Kaggle's layout."""
    folder = tmp_path_factory.mktemp("pictures") / "dogs-vs-cats"
    for seed, name in enumerate(("cat", "dog")):
        for number in range(13):
            picture = cv2.GaussianBlur(noise(100 * seed + number, 70 + number, 110 - 3 * number, 3), (0, 0), 3)
            write_picture(folder / "train" / f"{name}.{number}.jpg", picture)
    return folder.parent


def naive_split(name):
    """Sorted as text, permuted by one generator for both classes."""
    chance = np.random.RandomState(0)
    orders = {"cat": chance.permutation(13), "dog": chance.permutation(13)}
    names = sorted(f"{name}.{number}.jpg" for number in range(13))
    assert names[:4] == [f"{name}.{number}.jpg" for number in (0, 1, 10, 11)]
    shuffled = [names[place] for place in orders[name]]
    return shuffled[:9], shuffled[9:]


def naive_square(path):
    return area_square(np.asarray(cv2.imread(str(path)), np.uint8), 64)[..., ::-1].transpose(2, 0, 1)


@pytest.mark.parametrize(("category", "flags"), [("cat", [0] * 4 + [1] * 4), ("dog", [1] * 4 + [0] * 4)])
@pytest.mark.parametrize("place", ["", "dogs-vs-cats", "dogs-vs-cats/train"])
def test_the_split(pictures, category, flags, place):
    experiment = SMALL.load(pictures / place, category)
    folder = pictures / "dogs-vs-cats" / "train"
    assert np.array_equal(experiment.train, [naive_square(folder / name) for name in naive_split(category)[0]])
    test = [*naive_split("cat")[1], *naive_split("dog")[1]]
    assert np.array_equal(experiment.test, [naive_square(folder / name) for name in test])
    assert experiment.anomalous.tolist() == [bool(flag) for flag in flags]
    assert experiment.name == f"catdog {category}"


def test_the_fingerprint_is_the_same_from_either_folder(pictures):
    assert SMALL.fingerprint(pictures, "cat") == SMALL.fingerprint(pictures / "dogs-vs-cats" / "train", "cat")
    assert SMALL.fingerprint(pictures, "cat") != SMALL.fingerprint(pictures, "dog")


def test_both_classes_are_normal_once(pictures):
    assert SMALL.available(pictures) == ("cat", "dog")
    assert (CAT_VS_DOG.images, CAT_VS_DOG.train_images, CAT_VS_DOG.side) == (12_500, 10_000, 64)


def test_too_few_pictures_and_other_names(tmp_path, pictures):
    with pytest.raises(
        InputError, match=r"12,500 pictures cat\.N\.jpg in .*found 13; get train\.zip of https://www\.k"
    ):
        CAT_VS_DOG.load(pictures, "dog")
    for name in ("cat.0.jpg", "dog.0.jpg", "cat.1.png", "cat.jpg", "my cat.2.jpg", "cat.2.jpg.part"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"13 pictures cat\.N\.jpg in .*found 1;"):
        SMALL.load(tmp_path, "cat")
    (tmp_path / "dog.0.jpg").unlink()
    with pytest.raises(InputError, match=r"all files of Cat-vs-Dog.*found no train/dog\.0\.jpg"):
        SMALL.available(tmp_path)

"""CelebA: faces without eyeglasses against those with."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from published_formats import noise, write_picture

from edge_occ.common.errors import InputError
from trainer.protocols.celeba import CELEBA

SMALL = replace(CELEBA, train_images=6, test_images=4)
NAMES = [f"{number:06}.jpg" for number in range(1, 13)]
PARTS = [0] * 6 + [1] * 2 + [2] * 4
GLASSES = [1, -1, -1, 1, -1, -1, 1, -1, -1, 1, 1, -1]
HEADING = "Attractive Eyeglasses Young "


def write(folder, *, official=False):
    """Lists as published, with their spaces, in one folder or in the folders of the official archive."""
    inner = (
        {"pictures": "Img/", "attributes": "Anno/", "parts": "Eval/"}
        if official
        else dict.fromkeys(("pictures", "attributes", "parts"), "")
    )
    for seed, name in enumerate(NAMES):
        picture = cv2.GaussianBlur(noise(seed, 218, 178, 3), (0, 0), 3)
        write_picture(folder / f"{inner['pictures']}img_align_celeba" / name, picture)
    rows = [f"{name} {-flag:2d} {flag:2d}  1" for name, flag in zip(NAMES, GLASSES, strict=True)]
    attributes = folder / inner["attributes"] / "list_attr_celeba.txt"
    partition = folder / inner["parts"] / "list_eval_partition.txt"
    for path, lines in (
        (attributes, ["12", HEADING, *rows]),
        (partition, [f"{name} {part}" for name, part in zip(NAMES, PARTS, strict=True)]),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    return attributes, partition


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    write(folder)
    return folder


def naive_face(path):
    with Image.open(path) as image:
        return np.asarray(image.crop((10, 40, 168, 198)).resize((64, 64), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


@pytest.mark.parametrize("official", [False, True])
def test_the_split_and_the_crop(tmp_path, official):
    folder = tmp_path / "celeba"
    write(folder, official=official)
    experiment = SMALL.load(tmp_path, "no-eyeglasses")
    pictures = folder / ("Img" if official else "") / "img_align_celeba"
    train = [name for name, part, flag in zip(NAMES, PARTS, GLASSES, strict=True) if part == 0 and flag == -1]
    test = [name for name, part in zip(NAMES, PARTS, strict=True) if part == 2]
    assert len(train) == 4
    for found, names in ((experiment.train, train), (experiment.test, test)):
        wanted = np.stack([naive_face(pictures / name) for name in names])
        assert found.shape == wanted.shape
        assert np.abs(found.astype(int) - wanted).max() <= 2  # two decoders of JPEG
    assert experiment.anomalous.tolist() == [False, True, True, False]
    assert experiment.anomalous.dtype == np.bool_


def test_the_fingerprint_is_of_the_pictures_in_use_and_the_lists(tmp_path):
    attributes, _ = write(tmp_path)
    first = SMALL.fingerprint(tmp_path, "no-eyeglasses")
    pictures = tmp_path / "img_align_celeba"
    for name in (NAMES[0], NAMES[6]):  # with eyeglasses in the training part; in the validation part
        (pictures / name).write_bytes(b"other")
    assert SMALL.fingerprint(tmp_path, "no-eyeglasses") == first
    (pictures / NAMES[9]).write_bytes(b"other")  # in the test part, with eyeglasses
    second = SMALL.fingerprint(tmp_path, "no-eyeglasses")
    assert second != first
    attributes.write_text(attributes.read_text() + "unknown.jpg 1 1 1\n")
    assert SMALL.fingerprint(tmp_path, "no-eyeglasses") not in {first, second}


def test_the_one_category(faces):
    assert SMALL.available(faces) == ("no-eyeglasses",)
    with pytest.raises(InputError, match="a category of CelebA: no-eyeglasses; found 'Smiling'"):
        SMALL.load(faces, "Smiling")


def test_too_few_pictures_in_the_lists(faces):
    with pytest.raises(
        InputError, match=r"162,770 training and 19,962 test pictures.*found 6 and 4.*get img_align_cel"
    ):
        CELEBA.load(faces, "no-eyeglasses")


def test_pictures_that_are_missing_are_counted_and_one_is_named(tmp_path):
    write(tmp_path)
    for name in (NAMES[10], NAMES[2]):
        (tmp_path / "img_align_celeba" / name).unlink()
    with pytest.raises(InputError, match=r"each of 10 pictures.*found 2 that are not, the first being 000003\.jpg"):
        SMALL.load(tmp_path, "no-eyeglasses")


def test_pictures_of_another_size(tmp_path):
    write(tmp_path)
    write_picture(tmp_path / "img_align_celeba" / NAMES[1], noise(0, 178, 218, 3))
    with pytest.raises(InputError, match=r"aligned faces of 178x218 pixels; found .*000002\.jpg, 218x178"):
        SMALL.load(tmp_path, "no-eyeglasses")


@pytest.mark.parametrize(
    ("which", "old", "new", "expected"),
    [
        (0, HEADING, "Attractive Glasses Young", "the attribute Eyeglasses in the second line of"),
        (0, "000003.jpg  1 -1  1", "000003.jpg  1 -1", "a name and 3 attributes, 1 or -1 in line 5 of"),
        (0, "000003.jpg  1 -1  1", "000003.jpg  1 0  1", "a name and 3 attributes, 1 or -1 in line 5 of"),
        (0, "000003.jpg", "300000.jpg", "each of 10 pictures in"),
        (1, "000003.jpg 0", "000003.jpg 3", "a name and one of 0, 1, 2 in line 3 of"),
        (1, "000003.jpg 0", "000003.jpg", "a name and one of 0, 1, 2 in line 3 of"),
        (1, "000003.jpg", "../000003.jpg", "each of 10 pictures in"),
    ],
)
def test_damaged_lists(tmp_path, which, old, new, expected):
    path = write(tmp_path)[which]
    content = path.read_text()
    assert content.count(old) == 1
    path.write_text(content.replace(old, new))
    with pytest.raises(InputError) as caught:
        SMALL.load(tmp_path, "no-eyeglasses")
    assert caught.value.expected.startswith(expected)

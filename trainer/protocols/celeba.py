"""CelebA: faces without eyeglasses against faces with them, cropped and shrunk to 64x64 pixels.

Source: the two-stage paper's released code, ``script/prepare_celeba.py`` and ``data/celeba.py``.  The aligned pictures,
178 pixels wide and 218 high, are cropped to rows 40 to 197 and columns 10 to 167, then resized as Pillow 8 does by
default, which is bicubic.  Training images are those of the official training part without the attribute; test images
are the whole official test part.  The released loader does not run, and its script assumes an order of the attributes;
here the attribute is found by its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.data_set import DataSet, OneClass
from trainer.protocols.formats.files import first_there, read_bounded
from trainer.protocols.formats.pictures import bicubic_square, read_squares

_FOLDER = ("img_align_celeba/", "Img/img_align_celeba/")
_ATTRIBUTES = ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt")
_PARTITION = ("list_eval_partition.txt", "Eval/list_eval_partition.txt")
_MAX_BYTES = 2**26
"""The list of attributes is about 27 MB."""

_ATTRIBUTE = "Eyeglasses"
_SHAPE = (218, 178)
_TRAIN, _, _TEST = _PARTS = ("0", "1", "2")


@dataclass(frozen=True)
class CelebA(DataSet):
    """A folder of pictures, a list of attributes and a list of the official parts.

    Attributes:
        train_images: images in the official training part, with and without the attribute.
        test_images: images in the official test part.
    """

    train_images: int
    test_images: int

    def available(self, data: Path) -> tuple[str, ...]:
        """Return the one category."""
        self.find(data)
        return self.categories

    def _load(self, folder: Path, category: str) -> OneClass:
        train, test = self._parts(folder)
        squares = read_squares([*train, *test], self.side, self._face, f"reading {self.title}")
        anomalous = np.array(list(test.values()), np.bool_)
        return OneClass(f"{self.name} {category}", squares[: len(train)], squares[len(train) :], anomalous)

    def _files(self, folder: Path) -> Sequence[Path]:
        train, test = self._parts(folder)
        return [first_there(folder, _ATTRIBUTES), first_there(folder, _PARTITION), *train, *test]

    def _face(self, picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
        height, width = picture.shape[:2]
        if (height, width) != _SHAPE:
            raise InputError(f"aligned faces of {_SHAPE[1]}x{_SHAPE[0]} pixels", f"{width}x{height}", self.advice)
        return bicubic_square(picture[40:-20, 10:-10], side)

    def _parts(self, folder: Path) -> tuple[dict[Path, bool], dict[Path, bool]]:
        """Return the normal training pictures and all test pictures, each with whether it has the attribute."""
        has = self._attribute(first_there(folder, _ATTRIBUTES))
        parts = self._partition(first_there(folder, _PARTITION))
        whole = {part: [name for name, number in parts.items() if number == part] for part in (_TRAIN, _TEST)}
        counts = [len(names) for names in whole.values()]
        if counts != [self.train_images, self.test_images]:
            raise InputError(
                f"{self.train_images:,} training and {self.test_images:,} test pictures of {self.title} in {folder}",
                f"{counts[0]:,} and {counts[1]:,} in its lists",
                self.advice,
            )
        pictures = first_there(folder, _FOLDER)
        there = {path.name for path in pictures.iterdir()}
        if lost := [name for names in whole.values() for name in names if name not in there or name not in has]:
            raise InputError(
                f"each of {sum(counts):,} pictures in {pictures} and in {_ATTRIBUTES[0]}",
                f"{len(lost):,} that are not, the first being {lost[0][:80]}",
                self.advice,
            )
        normal = {pictures / name: False for name in whole[_TRAIN] if not has[name]}
        return normal, {pictures / name: has[name] for name in whole[_TEST]}

    def _attribute(self, path: Path) -> dict[str, bool]:
        """Read which pictures have the attribute.

        The file holds a count, the names of all attributes, and a line for each picture: its name, and 1 or -1 for each
        attribute.
        """
        lines = self._lines(path)
        heading = lines[1].split() if len(lines) > 1 else []
        if _ATTRIBUTE not in heading:
            raise InputError(f"the attribute {_ATTRIBUTE} in the second line of {path}", "others", self.advice)
        place = heading.index(_ATTRIBUTE) + 1
        has = {}
        for number, line in enumerate(lines[2:], 3):
            row = line.split()
            if len(row) != len(heading) + 1 or row[place] not in {"1", "-1"}:
                raise self._damaged(path, number, f"a name and {len(heading)} attributes, 1 or -1")
            has[row[0]] = row[place] == "1"
        return has

    def _partition(self, path: Path) -> dict[str, str]:
        """Read the part of each picture: a line each with a name and a number."""
        parts = {}
        for number, line in enumerate(self._lines(path), 1):
            row = line.split()
            if len(row) != 2 or row[1] not in _PARTS:
                raise self._damaged(path, number, f"a name and one of {', '.join(_PARTS)}")
            parts[row[0]] = row[1]
        return parts

    def _lines(self, path: Path) -> list[str]:
        return read_bounded(path, _MAX_BYTES, self.advice).decode("utf-8", "replace").splitlines()

    def _damaged(self, path: Path, number: int, expected: str) -> InputError:
        return InputError(f"{expected} in line {number:,} of {path}", "something else", self.advice)


CELEBA = CelebA(
    name="celeba",
    title="CelebA",
    side=64,
    categories=("no-eyeglasses",),
    folders=("celeba", "CelebA", "celebA"),
    layout=(_FOLDER, _ATTRIBUTES, _PARTITION),
    advice=(
        "get img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
    ),
    train_images=162_770,
    test_images=19_962,
)

"""Cat-vs-Dog: Kaggle's "Dogs vs. Cats", 12,500 pictures a class, shrunk to 64x64 pixels.

Source: the two-stage paper's released code, ``script/prepare_dogvscat.py`` and ``data/dogvscat.py``.  There is no
official test half.  Pictures are sorted by name, as text; numpy's legacy generator with seed 0 permutes the cats and
then the dogs; the first 10,000 of a class are for training and the other 2,500 for testing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_occ.common.errors import InputError
from trainer.protocols.data_set import DataSet, OneClass
from trainer.protocols.formats.files import first_there
from trainer.protocols.formats.pictures import area_square, read_squares

_SEED = 0
_FIRST = {name: (f"train/{name}.0.jpg", f"{name}.0.jpg") for name in ("cat", "dog")}


@dataclass(frozen=True)
class CatVsDog(DataSet):
    """A folder of ``cat.N.jpg`` and ``dog.N.jpg``, or ``train`` with these in it.

    Attributes:
        images: number of pictures of each class.
        train_images: number of them that are for training.
    """

    images: int
    train_images: int

    def available(self, data: Path) -> tuple[str, ...]:
        """List the categories with any pictures, by file name."""
        found = self._pictures(self.find(data))
        return tuple(category for category in self.categories if found[category])

    def _load(self, folder: Path, category: str) -> OneClass:
        found = self._pictures(folder)
        for name, paths in found.items():
            if len(paths) != self.images:
                raise InputError(f"{self.images:,} pictures {name}.N.jpg in {folder}", f"{len(paths):,}", self.advice)
        chance = np.random.RandomState(_SEED)
        orders = {name: chance.permutation(self.images) for name in self.categories}
        train = [found[category][place] for place in orders[category][: self.train_images]]
        test = [found[name][place] for name in self.categories for place in orders[name][self.train_images :]]
        squares = read_squares([*train, *test], self.side, area_square, f"reading {self.title}")
        anomalous = np.repeat([name != category for name in self.categories], self.images - self.train_images)
        return OneClass(f"{self.name} {category}", squares[: len(train)], squares[len(train) :], anomalous)

    def _files(self, folder: Path) -> Sequence[Path]:
        return [path for paths in self._pictures(folder).values() for path in paths]

    def _pictures(self, folder: Path) -> dict[str, list[Path]]:
        """Return the pictures of each category, sorted by name."""
        inner = first_there(folder, _FIRST["cat"]).parent
        names = sorted(path.name for path in inner.iterdir())
        return {
            category: [inner / name for name in names if re.fullmatch(rf"{category}\.\d+\.jpg", name)]
            for category in self.categories
        }


CAT_VS_DOG = CatVsDog(
    name="catdog",
    title="Cat-vs-Dog",
    side=64,
    categories=tuple(_FIRST),
    folders=("dogs-vs-cats", "cat-vs-dog", "catdog"),
    layout=tuple(_FIRST.values()),
    advice="get train.zip of https://www.kaggle.com/c/dogs-vs-cats/data and unpack it",
    images=12_500,
    train_images=10_000,
)

"""Data sets with a label for every image, split into one class against the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.data_set import DataSet, OneClass

Half = Literal["train", "test"]


@dataclass(frozen=True)
class OneVsRest(DataSet):
    """A data set of two labelled halves; the label is the index of the class in ``categories``.

    The training half may lack classes, so that a part of the data set can be used.  The test half must be complete,
    because figures on a part of it are not comparable.

    Attributes:
        train_images: images of each class in the published training half.
        test_images: images of each class in the published test half.
    """

    train_images: int
    test_images: int

    def available(self, data: Path) -> tuple[str, ...]:
        """List the categories with any training images; reads labels, and images that share their file."""
        counts = self._counts(self._labels(self.find(data), "train"), data)
        return tuple(name for name, count in zip(self.categories, counts, strict=True) if count)

    @abstractmethod
    def _labels(self, folder: Path, half: Half) -> NDArray[np.uint8]:
        """Read the labels of all images of a half, uint8 ``[n]``."""

    @abstractmethod
    def _read(self, folder: Path, half: Half) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Read a half as stored: images uint8 ``[n, ...]`` and labels uint8 ``[n]``."""

    @abstractmethod
    def _pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert images as :meth:`_read` returns them to RGB uint8 ``[n, 3, s, s]``."""

    def _load(self, folder: Path, category: str) -> OneClass:
        label = self.categories.index(category)
        images, labels = self._read(folder, "train")
        self._check_training_half(self._counts(labels, folder), label, folder)
        train = self._pictures(images[labels == label])
        images, labels = self._read(folder, "test")
        self._check_test_half(self._counts(labels, folder), folder)
        return OneClass(f"{self.name} {category}", train, self._pictures(images), labels != label)

    def _counts(self, labels: NDArray[np.uint8], folder: Path) -> Sequence[int]:
        counts: list[int] = np.bincount(labels, minlength=len(self.categories)).tolist()
        if len(counts) > len(self.categories):
            raise InputError(
                f"labels of 0 to {len(self.categories) - 1} of {self.title} in {folder}",
                f"a label {len(counts) - 1}",
                self.advice,
            )
        return counts

    def _check_training_half(self, counts: Sequence[int], label: int, folder: Path) -> None:
        if counts[label] == self.train_images:
            return
        present = ", ".join(name for name, count in zip(self.categories, counts, strict=True) if count)
        other = not counts[label] and present
        raise InputError(
            f"{self.train_images:,} training images of {self.categories[label]} of {self.title} in {folder}",
            f"none, but of {present}" if other else f"{counts[label]:,}",
            f"choose one of these, or {self.advice}" if other else self.advice,
        )

    def _check_test_half(self, counts: Sequence[int], folder: Path) -> None:
        wrong = [
            f"{count:,} of {name}"
            for name, count in zip(self.categories, counts, strict=True)
            if count != self.test_images
        ]
        if wrong:
            raise InputError(
                f"{self.test_images:,} test images of each of the {len(counts)} classes of {self.title} in {folder}",
                ", ".join(wrong),
                self.advice,
            )

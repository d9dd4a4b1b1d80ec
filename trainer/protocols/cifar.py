"""CIFAR-10 by its 10 classes and CIFAR-100 by its 20 super-classes: 32x32 pixels, as they are.

Source: the first paper's released code, ``data/cifar.py``; counts and names from the data sets' page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.protocols.formats.cifar import SIDE, Labelled, read_binary, read_python
from trainer.protocols.formats.files import Layout
from trainer.protocols.one_vs_rest import Half, OneVsRest

_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Cifar(OneVsRest):
    """Either of the two, in the binary or the Python format.

    Attributes:
        train_files, test_files: names in the Python format; those of the binary one end in ``.bin``.
        label_bytes: before the pixels of a record.
        label_key: of the list of labels in a Python batch.
    """

    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_bytes: int
    label_key: str

    def _labels(self, folder: Path, half: Half) -> NDArray[np.uint8]:
        return self._read(folder, half)[1]

    def _read(self, folder: Path, half: Half) -> Labelled:
        images = len(self.categories) * (self.train_images if half == "train" else self.test_images)
        paths = self._paths(folder, half)
        parts = [
            read_binary(path, self.label_bytes, images // len(paths), self.advice)
            if path.suffix
            else read_python(path, self.label_key, self.advice)
            for path in paths
        ]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images

    def _files(self, folder: Path) -> Sequence[Path]:
        return [*self._paths(folder, "train"), *self._paths(folder, "test")]

    def _paths(self, folder: Path, half: Half) -> list[Path]:
        names = self.train_files if half == "train" else self.test_files
        binary = all((folder / f"{name}.bin").is_file() for name in (*self.train_files, *self.test_files))
        return [folder / (f"{name}.bin" if binary else name) for name in names]


def _layouts(*names: str) -> tuple[Layout, Layout]:
    """Of the binary and of the Python format."""
    return tuple((f"{name}.bin",) for name in names), tuple((name,) for name in names)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))

CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    side=SIDE,
    categories=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    folders=("cifar-10-batches-bin", "cifar-10-batches-py"),
    layouts=_layouts(*_BATCHES, "test_batch"),
    advice=f"get cifar-10-binary.tar.gz from {_PAGE} and unpack it",
    train_images=5_000,
    test_images=1_000,
    train_files=_BATCHES,
    test_files=("test_batch",),
    label_bytes=1,
    label_key="labels",
)

CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    side=SIDE,
    categories=(
        *("aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables"),
        *("household_electrical_devices", "household_furniture", "insects", "large_carnivores"),
        *("large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores"),
        *("medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees"),
        *("vehicles_1", "vehicles_2"),
    ),
    folders=("cifar-100-binary", "cifar-100-python"),
    layouts=_layouts("train", "test"),
    advice=f"get cifar-100-binary.tar.gz from {_PAGE} and unpack it",
    train_images=2_500,
    test_images=500,
    train_files=("train",),
    test_files=("test",),
    label_bytes=2,
    label_key="coarse_labels",
)

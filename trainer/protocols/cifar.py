"""CIFAR-10 by its 10 classes and CIFAR-100 by its 20 super-classes, 32x32 pixels.

Source: the two-stage paper's released code, ``data/cifar.py``; counts and names from the page of the data sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.formats.cifar import SIDE, LabelledImages, read_cifar
from trainer.protocols.one_vs_rest import Half, OneVsRest

_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Cifar(OneVsRest):
    """CIFAR-10 or CIFAR-100 in the binary version.

    Attributes:
        train_files, test_files: names of the ``.bin`` files.
        label_bytes: bytes of labels before the pixels of a record.
        python_folder: name of the folder of the Python version, which is a pickle and is not read.
    """

    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    label_bytes: int
    python_folder: str

    def find(self, data: Path) -> Path:
        """The folder of the binary version: ``data`` itself, or one of the usual names in it.

        Raises:
            InputError: as :meth:`DataSet.find`; a separate message where the Python version is there instead.
        """
        try:
            return super().find(data)
        except InputError:
            for folder in (data, data / self.python_folder):
                if (folder / Path(self.train_files[0]).stem).is_file():
                    expected = f"the binary version of {self.title} ({self.train_files[0]}, ...)"
                    raise InputError(expected, f"the Python version, a pickle, in {folder}", self.advice) from None
            raise

    def _labels(self, folder: Path, half: Half) -> NDArray[np.uint8]:
        return self._read(folder, half)[1]

    def _read(self, folder: Path, half: Half) -> LabelledImages:
        images = len(self.categories) * (self.train_images if half == "train" else self.test_images)
        names = self.train_files if half == "train" else self.test_files
        parts = [read_cifar(folder / name, self.label_bytes, images // len(names), self.advice) for name in names]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])

    def _pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images

    def _files(self, folder: Path) -> Sequence[Path]:
        return [folder / name for name in (*self.train_files, *self.test_files)]


_BATCHES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))

CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    side=SIDE,
    categories=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    folders=("cifar-10-batches-bin",),
    layout=tuple((name,) for name in (*_BATCHES, "test_batch.bin")),
    advice=f"get cifar-10-binary.tar.gz from {_PAGE} and unpack it",
    train_images=5_000,
    test_images=1_000,
    train_files=_BATCHES,
    test_files=("test_batch.bin",),
    label_bytes=1,
    python_folder="cifar-10-batches-py",
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
    folders=("cifar-100-binary",),
    layout=(("train.bin",), ("test.bin",)),
    advice=f"get cifar-100-binary.tar.gz from {_PAGE} and unpack it",
    train_images=2_500,
    test_images=500,
    train_files=("train.bin",),
    test_files=("test.bin",),
    label_bytes=2,
    python_folder="cifar-100-python",
)

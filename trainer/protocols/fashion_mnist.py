"""Fashion-MNIST: 28x28 grey pixels, padded with two rows and columns of zeros to 32, grey copied to three channels.

Source: the two-stage paper's released code, ``data/fmnist.py``; counts from the data set's page.  The categories are
the numbers of the labels, as in the paper: 0 T-shirt, 1 trouser, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt,
7 sneaker, 8 bag, 9 ankle boot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.formats.files import first_there
from trainer.protocols.formats.idx import read_idx
from trainer.protocols.one_vs_rest import Half, OneVsRest

_SIDE = 28
_PAD = 2
_STEMS = {"train": "train", "test": "t10k"}


def _names(half: Half, kind: str) -> tuple[str, str]:
    name = f"{_STEMS[half]}-{kind}-ubyte"
    return f"{name}.gz", name


_IMAGES, _LABELS = "images-idx3", "labels-idx1"
_GROUPS = tuple(_names(half, kind) for half in ("train", "test") for kind in (_IMAGES, _LABELS))


@dataclass(frozen=True)
class FashionMnist(OneVsRest):
    """Four idx files, each plain or ``.gz``."""

    def _labels(self, folder: Path, half: Half) -> NDArray[np.uint8]:
        return read_idx(first_there(folder, _names(half, _LABELS)), 1, self.advice)

    def _read(self, folder: Path, half: Half) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        path = first_there(folder, _names(half, _IMAGES))
        images, labels = read_idx(path, 3, self.advice), self._labels(folder, half)
        if images.shape != (len(labels), _SIDE, _SIDE):
            raise InputError(
                f"{len(labels):,} images of {_SIDE}x{_SIDE} pixels in {path}, one a label",
                f"{images.shape[0]:,} of {images.shape[1]}x{images.shape[2]}",
                self.advice,
            )
        return images, labels

    def _pictures(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        padded = np.pad(images, ((0, 0), (_PAD, _PAD), (_PAD, _PAD)))
        return np.repeat(padded[:, None], 3, axis=1)

    def _files(self, folder: Path) -> Sequence[Path]:
        return [first_there(folder, group) for group in _GROUPS]


FASHION_MNIST = FashionMnist(
    name="fmnist",
    title="Fashion-MNIST",
    side=_SIDE + 2 * _PAD,
    categories=tuple(map(str, range(10))),
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST", "FashionMNIST/raw", "fmnist"),
    layout=_GROUPS,
    advice="get its four .gz files from https://github.com/zalandoresearch/fashion-mnist",
    train_images=6_000,
    test_images=1_000,
)

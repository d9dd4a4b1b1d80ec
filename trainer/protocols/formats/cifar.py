"""The binary version of CIFAR-10 and CIFAR-100.

A record is a label (in CIFAR-100 the super-class and then the class), 1,024 red, 1,024 green and 1,024 blue bytes, row
by row (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.formats.files import read_bounded

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_MAX_IMAGES = 50_000
"""Images in the largest file, CIFAR-100's training half."""

LabelledImages = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""RGB images ``[n, 3, 32, 32]`` and the label of each ``[n]``."""


def read_cifar(path: Path, label_bytes: int, images: int, advice: str) -> LabelledImages:
    """Read the records of a ``.bin`` file.

    Args:
        path: the file.
        label_bytes: bytes of labels before the pixels: 1, or 2 in CIFAR-100.
        images: number of images in the published file, for the error message; a file may hold fewer or more.
        advice: where to get the right file.

    Returns:
        RGB uint8 ``[n, 3, 32, 32]``, and the first label of each as uint8 ``[n]``.

    Raises:
        InputError: the file is unreadable, empty, too large, or does not consist of whole records.
    """
    record = label_bytes + _PIXELS
    content = read_bounded(path, _MAX_IMAGES * record, advice)
    if not content or len(content) % record:
        raise InputError(
            f"{images * record:,} bytes in {path}, or whole records of {record:,}", f"{len(content):,} bytes", advice
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, label_bytes:].reshape(-1, 3, SIDE, SIDE), records[:, 0].copy()

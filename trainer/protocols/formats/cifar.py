"""The two formats of CIFAR-10 and CIFAR-100: records of bytes, and batches of Python.

A record is a label (of CIFAR-100 the super-class and then the class), 1,024 red, 1,024 green and 1,024 blue bytes, row
by row (https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError
from trainer.protocols.formats.files import read_bounded
from trainer.protocols.formats.python_batch import read_batch

SIDE = 32
_PIXELS = 3 * SIDE * SIDE
_MAX_IMAGES = 50_000
"""Of the largest file, CIFAR-100's training half."""

Labelled = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Images and the label of each."""


def read_binary(path: Path, labels: int, images: int, advice: str) -> Labelled:
    """Records of a ``.bin`` file.

    Args:
        path: of the file.
        labels: bytes of labels before the pixels: 1, or 2 of CIFAR-100.
        images: how many the published file has; others may have fewer or more, but whole ones.
        advice: where to get the right file.

    Returns:
        RGB uint8 ``[n, 3, 32, 32]``, and the first label of each as uint8 ``[n]``.

    Raises:
        InputError: unreadable, empty, too large, or not of whole records; tells the bytes expected and found.
    """
    record = labels + _PIXELS
    content = read_bounded(path, _MAX_IMAGES * record, advice)
    if not content or len(content) % record:
        raise InputError(
            f"{images * record:,} bytes in {path}, or whole records of {record:,}", f"{len(content):,} bytes", advice
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, record)
    return records[:, labels:].reshape(-1, 3, SIDE, SIDE), records[:, 0].copy()


def read_python(path: Path, key: str, advice: str) -> Labelled:
    """A batch of the Python format, of which nothing is executed.

    Args:
        path: of the file.
        key: of the labels: ``labels``, or ``coarse_labels`` of CIFAR-100.
        advice: where to get the right file.

    Returns:
        RGB uint8 ``[n, 3, 32, 32]``, and the labels as uint8 ``[n]``.

    Raises:
        InputError: as :func:`read_batch`, or rows of another length than an image's.
    """
    data, labels = read_batch(path, key, advice)
    if data.shape[1] != _PIXELS:
        raise InputError(f"rows of {_PIXELS:,} bytes in {path}", f"rows of {data.shape[1]:,}", advice)
    return data.reshape(-1, 3, SIDE, SIDE), labels

"""Pictures read ahead by several threads, and put together in batches, both as far as memory allows."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_MOST_PIXELS = 1 << 26
"""Pixels of the pictures that are read at the same time: 200 MB as 8-bit BGR, five pictures of 12 million."""

BATCH_PIXELS = 1 << 22
"""Of a batch, which the graph's resizing makes 12 bytes a pixel: 16 frames of 512 x 512, or one of any size."""

_T = TypeVar("_T")


def read_ahead(read: Callable[[Path], _T], paths: Sequence[Path], pixels: Callable[[_T], int]) -> Iterator[_T]:
    """What ``read`` gives for each path, in order.

    Args:
        read: called in several threads, decodes one picture.
        paths: the files.
        pixels: from a result to the pixels that its picture had, or 0 if that is not known.  The next pictures are
            taken to be as large, so that large ones are read one at a time and small ones by all processors.

    Raises:
        Exception: what ``read`` raises.
    """
    threads = (os.cpu_count() or 1) + 4
    left = iter(paths)
    ahead = 1
    pending: deque[Future[_T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        while True:
            pending.extend(pool.submit(read, path) for path in islice(left, max(0, ahead - len(pending))))
            if not pending:
                return
            result = pending.popleft().result()
            ahead = max(1, min(threads, _MOST_PIXELS // max(1, pixels(result))))
            yield result


def same_size(images: Iterator[NDArray[np.uint8]], most: int, pixels: int) -> Iterator[list[NDArray[np.uint8]]]:
    """Batches of neighbours of one size: one image at least, and at most ``most`` images and ``pixels`` pixels."""
    batch: list[NDArray[np.uint8]] = []
    for image in images:
        full = len(batch) == most or (len(batch) + 1) * area(image) > pixels
        if batch and (full or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def area(image: NDArray[np.uint8]) -> int:
    """Pixels of an image ``[height, width, 3]``."""
    return int(image.shape[0] * image.shape[1])

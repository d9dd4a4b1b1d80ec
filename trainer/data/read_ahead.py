"""Pictures read ahead by several threads, and batched, within bounds of memory."""

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

_MAX_PIXELS = 1 << 26
"""Maximum number of pixels read at the same time: 200 MB as 8-bit BGR, five pictures of 12 million."""

BATCH_PIXELS = 1 << 22
"""Maximum number of pixels in a batch, of 12 bytes each in the graph's resizing: 16 frames of 512 x 512."""

_T = TypeVar("_T")


def read_ahead(read: Callable[[Path], _T], paths: Sequence[Path], pixels: Callable[[_T], int]) -> Iterator[_T]:
    """Yield the results of ``read`` for each path, in order.

    Args:
        read: called in several threads, decodes one picture.
        paths: the files.
        pixels: from a result to the number of pixels of its picture, or 0 if unknown.  The next pictures are assumed to
            be as large, so that large ones are read one at a time and small ones in many threads.

    Raises:
        Exception: any that ``read`` raises.
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
            ahead = max(1, min(threads, _MAX_PIXELS // max(1, pixels(result))))
            yield result


def same_size(
    images: Iterator[NDArray[np.uint8]], max_images: int, max_pixels: int
) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield batches of neighbours of equal size: at least one image, at most ``max_images`` and ``max_pixels``."""
    batch: list[NDArray[np.uint8]] = []
    for image in images:
        full = len(batch) == max_images or (len(batch) + 1) * area(image) > max_pixels
        if batch and (full or image.shape != batch[0].shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


def area(image: NDArray[np.uint8]) -> int:
    """Return the number of pixels of an image ``[height, width, 3]``."""
    return int(image.shape[0] * image.shape[1])

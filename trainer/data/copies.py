"""Pictures that show the same part in the same place: shots that differ by a camera's noise, by compression or light.

A promise from ``n`` scores holds for ``n`` different parts.  Shots of one part are not different: a head that has seen
one of them has seen them all, and their scores say nothing of other parts.

Two pictures are compared in block means, in which the noise of single pixels is all but gone, after the light of one is
fitted to the other by a gain and an offset.  What remains is a distance in grey levels.  They are shots of one part if
it is below :data:`MOST_NOISE`, and far below what lies between pictures that differ by more than that: parts that
hardly vary are as far apart as any, and stay different.

Both limits come from good pictures alone.  Repeated shots with noise of a standard deviation of 2 (of 255) and light
that varies by 1 % were within 0.65 of each other, on six kinds of parts; the two nearest pictures of different parts
1.0 apart, a thirteenth of the usual distance.  The same part, moved by a pixel or laid down anew, is farther away and
is not found.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MOST_NOISE = 0.8
"""Grey levels of 255 that remain between shots of one part at most."""

MOST_OF_USUAL = 0.2
"""The same as a share of the usual distance of pictures that differ by more."""

_SIDE, _BLOCK = 32, 8
_SAMPLE, _CHUNK = 1024, 512

Thumbnail = NDArray[np.float32]
"""Block means of a picture, ``[32, 32, 3]``."""


def thumbnail(image: NDArray[np.uint8]) -> Thumbnail:
    """Block means of a picture ``[height, width, 3]`` of any size."""
    side = _SIDE * _BLOCK
    scaled = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled.reshape(_SIDE, _BLOCK, _SIDE, _BLOCK, 3).mean((1, 3), dtype=np.float32))


def parts_of(thumbnails: Sequence[Thumbnail]) -> tuple[int, ...]:
    """Which part each picture shows, numbered by first appearance; pictures that are shots of one part share a number.

    Shots of a shot are of the same part, too.
    """
    contrast, pattern = _normalised(np.stack(thumbnails))
    usual = _usual_distance(contrast, pattern)
    pairs = [np.empty((0, 2), dtype=np.intp)]
    for start in range(0, len(pattern), _CHUNK):
        rows = slice(start, start + _CHUNK)
        near = np.argwhere(
            _distances(contrast[rows], pattern[rows], contrast, pattern) < min(MOST_NOISE, MOST_OF_USUAL * usual)
        )
        pairs.append(near + np.array((start, 0)))
    first, second = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(len(pattern), len(pattern)))
    _, labels = connected_components(graph, directed=False)
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels.tolist())


def look_alike(thumbnails: Sequence[Thumbnail]) -> bool:
    """Whether no two pictures differ by more than shots of one part do, so that nobody can tell if they are."""
    return len(thumbnails) > 1 and _usual_distance(*_normalised(np.stack(thumbnails))) == 0


def _normalised(thumbnails: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standard deviation of each picture's blocks ``[n]``, and the blocks with mean 0 and length 1 ``[n, d]``."""
    centred = thumbnails.reshape(len(thumbnails), -1)
    centred = centred - centred.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return length[:, 0] / np.sqrt(centred.shape[1]), centred / np.maximum(length, 1e-6)


def _distances(
    contrast: NDArray[np.float32],
    pattern: NDArray[np.float32],
    other_contrast: NDArray[np.float32],
    other_pattern: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Grey levels that remain between pictures when the light of one is fitted to the other, ``[n, m]``."""
    alike = np.clip(pattern @ other_pattern.T, 0, 1)
    return np.asarray(np.sqrt(np.outer(contrast, other_contrast) * (1 - alike * alike)), dtype=np.float32)


def _usual_distance(contrast: NDArray[np.float32], pattern: NDArray[np.float32]) -> float:
    """Median distance of the pictures that cannot be shots of one part; 0 if all could."""
    sample = np.linspace(0, len(pattern) - 1, min(len(pattern), _SAMPLE)).round().astype(int)
    of_pairs = _distances(contrast[sample], pattern[sample], contrast[sample], pattern[sample])
    different = of_pairs[of_pairs >= MOST_NOISE]
    return float(np.median(different)) if len(different) else 0.0

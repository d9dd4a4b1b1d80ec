"""Pictures that show the same part in the same place and differ by camera noise, compression or light alone.

The guarantee of ``n`` scores needs ``n`` different parts.  A head fitted on one shot of a part scores its other shots
low, and their scores say nothing about other parts.

Two pictures are compared by their block means, which average out the noise of single pixels, after a gain and an offset
are fitted to the light.  The remaining difference is a distance in grey levels.  Two pictures are shots of one part if
it is below :data:`MAX_NOISE` and far below the usual distance between pictures that differ by more than that.  So parts
that hardly vary stay different.

Both limits come from good pictures alone.  On six kinds of parts, repeated shots with noise of a standard deviation of
2 (of 255) and light that varies by 1 % were within 0.65 of each other; the two nearest pictures of different parts were
1.0 apart, a thirteenth of the usual distance.  The same part, moved by a pixel or placed anew, is farther away and
counts as another.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MAX_NOISE = 0.8
"""Maximum distance between shots of one part, in grey levels of 255."""

MAX_SHARE_OF_USUAL = 0.2
"""Maximum distance between shots of one part, as a share of the usual distance of different parts."""

_SIDE, _BLOCK = 32, 8
_SAMPLE, _CHUNK = 1024, 512

Thumbnail = NDArray[np.float32]
"""Block means of a picture, ``[32, 32, 3]``."""


def thumbnail(image: NDArray[np.uint8]) -> Thumbnail:
    """Return the block means of a picture ``[height, width, 3]`` of any size."""
    side = _SIDE * _BLOCK
    scaled = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled.reshape(_SIDE, _BLOCK, _SIDE, _BLOCK, 3).mean((1, 3), dtype=np.float32))


def parts_of(thumbnails: Sequence[Thumbnail]) -> tuple[int, ...]:
    """Return the number of the part that each picture shows, in the order of first appearance.

    Shots of one part share a number; the relation is transitive.
    """
    contrast, pattern = _normalised(np.stack(thumbnails))
    usual = _usual_distance(contrast, pattern)
    pairs = [np.empty((0, 2), dtype=np.intp)]
    for start in range(0, len(pattern), _CHUNK):
        rows = slice(start, start + _CHUNK)
        near = np.argwhere(
            _distances(contrast[rows], pattern[rows], contrast, pattern) < min(MAX_NOISE, MAX_SHARE_OF_USUAL * usual)
        )
        pairs.append(near + np.array((start, 0)))
    first, second = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(len(pattern), len(pattern)))
    _, labels = connected_components(graph, directed=False)
    numbers: dict[int, int] = {}
    return tuple(numbers.setdefault(label, len(numbers)) for label in labels.tolist())


def look_alike(thumbnails: Sequence[Thumbnail]) -> bool:
    """Return whether all pictures are as similar as shots of one part, so that parts cannot be counted."""
    return len(thumbnails) > 1 and _usual_distance(*_normalised(np.stack(thumbnails))) == 0


def _normalised(thumbnails: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the deviation of each picture's blocks ``[n]``, and the blocks with mean 0 and length 1 ``[n, d]``."""
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
    """Return distances in grey levels between pictures, after the light is fitted: ``[n, m]``."""
    alike = np.clip(pattern @ other_pattern.T, 0, 1)
    return np.asarray(np.sqrt(np.outer(contrast, other_contrast) * (1 - alike * alike)), dtype=np.float32)


def _usual_distance(contrast: NDArray[np.float32], pattern: NDArray[np.float32]) -> float:
    """Return the median distance of pictures that are not shots of one part; 0 without such pictures."""
    sample = np.linspace(0, len(pattern) - 1, min(len(pattern), _SAMPLE)).round().astype(int)
    of_pairs = _distances(contrast[sample], pattern[sample], contrast[sample], pattern[sample])
    different = of_pairs[of_pairs >= MAX_NOISE]
    return float(np.median(different)) if len(different) else 0.0

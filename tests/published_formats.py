"""Writers of the two-stage paper's data sets in their published formats."""

from __future__ import annotations

import struct

import cv2
import numpy as np


def idx(array):
    """An array in the idx format."""
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def noise(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def cifar_bin(labels, images):
    """Records of CIFAR's binary format; ``labels`` ``[n, 1 or 2]``, ``images`` ``[n, 3, 32, 32]``."""
    return np.concatenate([np.asarray(labels, np.uint8), images.reshape(len(images), -1)], 1).tobytes()


def write_picture(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 100])

"""Writers of the first paper's data sets in the exact formats that these are published in."""

from __future__ import annotations

import struct

import cv2
import numpy as np


def python2_batch(data, key, labels):
    """A CIFAR batch as Python 2's cPickle wrote the published ones: protocol 2, strings of bytes, memo from 1 on."""
    puts = iter(range(1, 10**6))

    def put():
        place = next(puts)
        return b"q" + bytes([place]) if place < 256 else b"r" + struct.pack("<I", place)

    def text(words):
        return b"U" + bytes([len(words)]) + words.encode("latin-1") + put()

    def number(value):
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    def sequence(items):
        whole = b"]" + put()
        for start in range(0, len(items), 1000):
            whole += b"(" + b"".join(items[start : start + 1000]) + b"e"
        return whole

    count, width = data.shape
    return b"".join(
        [
            *(b"\x80\x02}", put(), b"("),
            *(text("batch_label"), text("training batch 1 of 5")),
            *(text(key), sequence([number(label) for label in labels])),
            *(text("data"), b"cnumpy.core.multiarray\n_reconstruct\n", put(), b"cnumpy\nndarray\n", put()),
            *(b"K\x00\x85U\x01b\x87R", put(), b"(K\x01", number(count), number(width), b"\x86"),
            *(b"cnumpy\ndtype\n", put(), b"U\x02u1K\x00K\x01\x87R", put()),
            b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb",
            *(b"\x89T", struct.pack("<i", data.size), data.tobytes(), b"tb"),
            *(text("filenames"), sequence([text(f"leptodactylus_s_{n:06}.png") for n in range(count)])),
            b"u.",
        ]
    )


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

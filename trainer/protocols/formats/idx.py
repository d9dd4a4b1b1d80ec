"""The idx format of MNIST and Fashion-MNIST: a header of big-endian integers, then bytes.

The header is a magic number (two zero bytes, 8 for unsigned bytes, the number of axes) and the length of each axis.
Files that end in ``.gz`` are decompressed while they are read, up to the size that the header states.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError

_UNSIGNED_BYTES = 8
_MAX_BYTES = 2**28
"""Limit of the content; the 60,000 training images of 28x28 pixels are 47,040,000 bytes."""


def read_idx(path: Path, axes: int, advice: str) -> NDArray[np.uint8]:
    """Read an array of bytes.

    Args:
        path: ends in ``.gz`` if the file is compressed.
        axes: number of axes: 3 for images, 1 for labels.
        advice: where to get the right file.

    Returns:
        uint8 of the shape in the header.

    Raises:
        InputError: wrong magic number, more or fewer bytes than the header states, or a damaged gzip file.
    """
    packed = path.suffix == ".gz"
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            shape = _shape(file.read(4 + 4 * axes), path, axes, advice)
            expected = prod(shape)
            content = file.read(expected + 1)
    except EOFError:
        size = path.stat().st_size
        raise InputError(f"a whole gzip file at {path}", f"a truncated file of {size:,} bytes", advice) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"a gzip file at {path}", f"damaged or of another kind: {error}", advice) from None
    except OSError as error:
        raise InputError(f"a file at {path}", str(error.strerror), advice) from None
    if len(content) != expected:
        found = f"{len(content):,} bytes" if len(content) < expected else "more"
        raise InputError(f"{expected:,} bytes of content in {path}, by its header", found, advice)
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)


def _shape(header: bytes, path: Path, axes: int, advice: str) -> tuple[int, ...]:
    if len(header) < 4 + 4 * axes:
        raise InputError(f"a header of {4 + 4 * axes} bytes in {path}", f"{len(header)} bytes", advice)
    magic, *shape = struct.unpack(f">{1 + axes}I", header)
    wanted = _UNSIGNED_BYTES << 8 | axes
    if magic != wanted:
        raise InputError(f"the magic number {wanted} in {path}, of {axes} axes of bytes", str(magic), advice)
    if prod(shape) > _MAX_BYTES:
        raise InputError(f"at most {_MAX_BYTES:,} bytes of content in {path}", f"a header of {prod(shape):,}", advice)
    return tuple(shape)

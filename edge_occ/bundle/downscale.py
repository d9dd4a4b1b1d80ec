"""Downscaling of large frames before the graph, the same for training, calibration, the parity gate and the device.

The graph resizes a frame of any size by itself, in float32, which for a camera's frame takes longer than the encoder.
Halving whole numbers is exact in every OpenCV, takes a few milliseconds for 4K, and leaves less than twice the size
that is wanted to the graph's own filter.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.size import Size

HALVING = "halving"
"""Name of :func:`downscale` in a manifest.  The threshold depends on its result: another method needs another name."""


def downscale(frame: NDArray[np.uint8], wanted: Size) -> NDArray[np.uint8]:
    """Halve each axis of a frame as often as it keeps the size that is wanted.

    A pixel becomes the mean of 2x2 pixels, rounded half up; of two where one axis is long enough already, rounded half
    to even; and where the number of pixels is odd, of the area that it covers, so that the picture stays whole.

    Args:
        frame: uint8 ``[h, w, 3]``; left as it is.
        wanted: height and width of the result at least, where the frame has as many pixels.

    Returns:
        uint8, the shape of :func:`downscaled_size`; the frame itself where there is nothing to halve.
    """
    while True:
        rows, columns = _halved(frame.shape[0], wanted[0]), _halved(frame.shape[1], wanted[1])
        if (rows, columns) == frame.shape[:2]:
            return frame
        frame = np.asarray(cv2.resize(frame, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def downscaled_size(frame: Size, wanted: Size) -> Size:
    """Size of what :func:`downscale` makes of a frame of this size, each side below twice what is wanted."""
    halved = (_halved(frame[0], wanted[0]), _halved(frame[1], wanted[1]))
    return frame if halved == frame else downscaled_size(halved, wanted)


def _halved(pixels: int, wanted: int) -> int:
    return pixels // 2 if pixels >= 2 * wanted else pixels

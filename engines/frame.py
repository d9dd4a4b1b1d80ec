"""The frames that engines accept: colour, of bytes, of a bounded size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.errors import FrameRefused
from engines.limits import MAX_PIXELS


def require_frame(frame: NDArray[np.uint8]) -> None:
    """Refuse a frame that no engine can score.

    Args:
        frame: uint8 ``[height, width, 3]``, BGR, of 1 to :data:`MAX_PIXELS` pixels.

    Raises:
        FrameRefused: another type, shape or size.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        raise FrameRefused(
            "a frame of bytes, height x width x 3",
            f"{' x '.join(map(str, frame.shape))} of {frame.dtype}",
            "convert it to 8-bit BGR",
        )
    height, width = frame.shape[:2]
    if height * width > MAX_PIXELS:
        raise FrameRefused(
            f"a frame of at most {MAX_PIXELS / 1e6:g} million pixels", f"{width}x{height}", "crop it or make it smaller"
        )

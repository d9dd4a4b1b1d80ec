"""Heatmaps: a score map as colour over its frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.downscale import downscale

_FULL_OPACITY = 0.5
"""Opacity of the highest scores; the defect must stay visible under its colour."""


def overlay(
    frame_bgr: NDArray[np.uint8],
    score_map: NDArray[np.float32],
    low: float,
    threshold: float,
    longest_side: int | None = None,
) -> NDArray[np.uint8]:
    """Colour the frame by its scores and outline what is above the threshold.

    Args:
        frame_bgr: uint8 ``[height, width, 3]``; not changed.
        score_map: float32 ``[rows, columns]``, stretched over the whole frame.
        low: usual score of a normal part; this score and lower ones get no colour.
        threshold: middle of the colour scale, whose end is ``2 * threshold - low``.
        longest_side: limit of height and width in pixels; a larger frame is shrunk first, because drawing on all of
            its pixels would take longer than scoring them.

    Returns:
        uint8 ``[height, width, 3]``, BGR, a new picture.
    """
    if longest_side is not None:
        frame_bgr = shrink(frame_bgr, longest_side)
    height, width = frame_bgr.shape[:2]
    scores = cv2.resize(score_map, (width, height), interpolation=cv2.INTER_LINEAR)
    span = max(2 * (threshold - low), 1e-6)
    value = np.clip((scores - low) / span, 0, 1).astype(np.float32)
    colour = cv2.applyColorMap((value * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    opacity = _FULL_OPACITY * value
    picture = cv2.blendLinear(colour, frame_bgr, opacity, 1 - opacity)
    outlines, _ = cv2.findContours((scores > threshold).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    line = max(1, round(max(height, width) / 500))
    cv2.drawContours(picture, outlines, -1, (0, 0, 0), 3 * line)  # white on black is visible on any background
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), line)
    return np.asarray(picture, dtype=np.uint8)


def shrink(image: NDArray[np.uint8], longest_side: int) -> NDArray[np.uint8]:
    """Return the image shrunk to at most ``longest_side`` pixels of height and width; unchanged if it is no larger.

    Args:
        image: uint8 ``[height, width, 3]``.
        longest_side: at least 1.
    """
    height, width = image.shape[:2]
    scale = longest_side / max(height, width)
    if scale >= 1:
        return image
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    # Below a factor of two, linear interpolation skips no pixel; area interpolation would take several times as long.
    halved = downscale(image, (rows, columns))
    return np.asarray(cv2.resize(halved, (columns, rows), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def encode_jpeg(image: NDArray[np.uint8], quality: int = 85) -> bytes:
    """Return the JPEG bytes of a BGR image.

    Args:
        image: uint8 ``[height, width, 3]``.
        quality: 0 to 100.
    """
    return bytes(cv2.imencode(".jpg", np.asarray(image), [cv2.IMWRITE_JPEG_QUALITY, quality])[1])

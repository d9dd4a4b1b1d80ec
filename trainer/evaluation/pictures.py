"""Frames beside their scores, as people look at them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Calibration
from edge_occ.output.heatmap import encode_jpeg, overlay

HEIGHT, _WIDTH = 320, 640
"""A picture is scaled to fit into this many pixels, so that outlines are as fine on small frames as on large ones."""

_GROUND_TRUTH_BGR = (64, 220, 0)
_GAP = 4

Picture = NDArray[np.uint8]
"""``[height, width, 3]``, BGR."""


def scored_pair(
    frame: Picture, score_map: NDArray[np.float32], calibration: Calibration, mask: NDArray[np.bool_] | None = None
) -> list[Picture]:
    """The frame, with the ground truth outlined in green if it is known, and the frame under its scores.

    Args:
        frame: as it came from the camera.
        score_map: ``[rows, columns]``, stretched over the frame.
        calibration: where the colours begin and where the threshold is.
        mask: ground truth ``[height, width]``.
    """
    height, width = frame.shape[:2]
    scale = min(HEIGHT / height, _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    plain = np.asarray(cv2.resize(frame, size, interpolation=how), dtype=np.uint8)
    scored = overlay(plain, score_map, calibration.median, calibration.threshold)
    if mask is not None:
        scaled = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        outlines, _ = cv2.findContours((scaled > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(plain, outlines, -1, (0, 0, 0), 3)
        cv2.drawContours(plain, outlines, -1, _GROUND_TRUTH_BGR, 1)
    return [plain, scored]


def picture_row(pictures: Sequence[Picture]) -> bytes:
    """Pictures side by side as JPEG; lower ones get a white strip below."""
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        cv2.copyMakeBorder(picture, 0, height - picture.shape[0], 0, gap, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for picture, gap in zip(pictures, [_GAP] * (len(pictures) - 1) + [0], strict=True)
    ]
    return encode_jpeg(np.asarray(cv2.hconcat(padded), dtype=np.uint8))

"""Small pictures of frames with their heatmaps in a row, and the preview of a bundle."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Calibration
from edge_occ.output.heatmap import encode_jpeg, overlay
from engines.base import Engine
from engines.parity import Golden

HEIGHT, _WIDTH = 320, 640
"""Maximum size of a picture in pixels; frames are scaled to it, so that outlines look the same on all of them."""

_GAP = 4

BgrImage = NDArray[np.uint8]
"""``[height, width, 3]``, BGR."""


def preview(engine: Engine, golden: Golden, calibration: Calibration) -> bytes:
    """Return a JPEG of a normal and a pasted golden frame, each with its heatmap, in a row 320 pixels high or less.

    Args:
        engine: scores the frames.
        golden: normal frames in its first half, pasted ones in its second.
        calibration: median score, where the colours begin, and threshold.
    """
    pictures = []
    for frame in (golden.frames[0], golden.frames[len(golden.frames) // 2]):
        plain = scaled(frame)
        pictures += [plain, overlay(plain, engine.infer(frame).map, calibration.median, calibration.threshold)]
    return picture_row(pictures)


def scaled(frame: BgrImage) -> BgrImage:
    """Return a frame scaled to :data:`HEIGHT`, or less where it is wide."""
    height, width = frame.shape[:2]
    scale = min(HEIGHT / height, _WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, size, interpolation=filter_), dtype=np.uint8)


def picture_row(pictures: Sequence[BgrImage]) -> bytes:
    """Return pictures side by side as JPEG; lower ones are padded with white below."""
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        cv2.copyMakeBorder(picture, 0, height - picture.shape[0], 0, gap, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for picture, gap in zip(pictures, [_GAP] * (len(pictures) - 1) + [0], strict=True)
    ]
    return encode_jpeg(np.asarray(cv2.hconcat(padded), dtype=np.uint8))

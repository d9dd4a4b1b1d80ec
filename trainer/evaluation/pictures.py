"""Pictures of frames with their heatmaps or their region."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.manifest import Calibration
from edge_occ.output.heatmap import overlay
from edge_occ.output.preview import BgrImage, scaled

_GROUND_TRUTH_BGR = (64, 220, 0)
_REGION_BGR = (255, 255, 255)

_VEIL, _VEIL_GREY = 0.65, 190
"""Share and level of the grey over what is not inspected, which shows on black and on white ground alike."""


def scored_pair(
    frame: BgrImage, score_map: NDArray[np.float32], calibration: Calibration, mask: NDArray[np.bool_] | None = None
) -> list[BgrImage]:
    """Return the frame, with the ground truth outlined in green if given, and the frame with its heatmap.

    Args:
        frame: the frame.
        score_map: ``[rows, columns]``, stretched over the frame.
        calibration: median score, where the colours begin, and threshold.
        mask: ground truth ``[height, width]``.
    """
    plain = scaled(frame)
    scored = overlay(plain, score_map, calibration.median, calibration.threshold)
    if mask is not None:
        _outline(plain, _scaled_mask(mask, plain), _GROUND_TRUTH_BGR)
    return [plain, scored]


def region_pair(frame: BgrImage, region: NDArray[np.bool_]) -> list[BgrImage]:
    """Return the frame, and the frame with its region outlined in white and all else under a grey veil.

    Args:
        frame: the frame.
        region: pixels that are inspected, ``[rows, columns]``, stretched over the frame.
    """
    plain = scaled(frame)
    inside = _scaled_mask(region, plain)
    veiled = np.where(inside[..., None], plain, (1 - _VEIL) * plain + _VEIL * _VEIL_GREY).round().astype(np.uint8)
    _outline(veiled, inside, _REGION_BGR)
    return [plain, veiled]


def _scaled_mask(mask: NDArray[np.bool_], picture: BgrImage) -> NDArray[np.bool_]:
    size = (picture.shape[1], picture.shape[0])
    scaled: NDArray[np.bool_] = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
    return scaled


def _outline(picture: BgrImage, mask: NDArray[np.bool_], colour: tuple[int, int, int]) -> None:
    """Outline a mask on a picture, in place."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outlines, -1, (0, 0, 0), 3)
    cv2.drawContours(picture, outlines, -1, colour, 1)

"""Regions of a score map above the threshold, as boxes in frame pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.inspection.result import Box


def find_boxes(
    score_map: NDArray[np.float32], threshold: float, frame_shape: tuple[int, ...], limit: int = 8
) -> tuple[Box, ...]:
    """Boxes around the regions of the map above the threshold; pixels that touch at a corner belong together.

    Args:
        score_map: float32 ``[rows, columns]``, stretched over the whole frame.
        threshold: scores above it belong to a region, as in the verdict.
        frame_shape: ``(height, width, ...)`` of the frame.
        limit: maximum number of boxes.

    Returns:
        Boxes in frame pixels, the highest peak first.  They lie inside the frame and cover every map pixel of their
        region.
    """
    above = score_map > threshold
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=8)
    peaks = np.full(count, -np.inf, dtype=np.float32)
    np.maximum.at(peaks, labels[above].astype(np.intp), score_map[above])
    highest = 1 + np.argsort(-peaks[1:], kind="stable")[:limit]  # label 0 is the background
    rows, columns = score_map.shape
    height, width = frame_shape[:2]
    boxes = []
    for label in highest:
        left, top, box_columns, box_rows = (int(n) for n in stats[label, :4])
        x, y = left * width // columns, top * height // rows
        right, bottom = -(-(left + box_columns) * width // columns), -(-(top + box_rows) * height // rows)
        boxes.append(Box(x, y, right - x, bottom - y, float(peaks[label])))
    return tuple(boxes)

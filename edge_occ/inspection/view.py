"""The part of each frame of a camera that is inspected: a rectangle of it, a mask, both or everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_occ.common.size import Size
from edge_occ.inspection.mask import Mask
from edge_occ.inspection.regions import find_boxes
from edge_occ.inspection.result import Box
from edge_occ.inspection.roi import Roi
from engines.base import Scores


@dataclass(frozen=True)
class View:
    """The part of each frame that is inspected; the default is everything.

    Attributes:
        roi: the rectangle that is scored, as if the camera saw nothing else; ``None``: the whole frame.
        mask: limits what counts in the scores; ``None``: everything counts.
    """

    roi: Roi | None = None
    mask: Mask | None = None

    def crop(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return what is scored of a frame, ``[height, width, 3]``; nothing is copied.

        Raises:
            Unscored: see :meth:`edge_occ.inspection.roi.Roi.crop`.
        """
        return image if self.roi is None else self.roi.crop(image)

    def limit(self, scores: Scores, frame: Size) -> Scores:
        """Return what counts of the scores; see :meth:`edge_occ.inspection.mask.Mask.limit`."""
        return scores if self.mask is None else self.mask.limit(scores, frame)

    def boxes(self, score_map: NDArray[np.float32], threshold: float, shape: tuple[int, ...]) -> tuple[Box, ...]:
        """Return boxes in pixels of the whole frame; see :func:`edge_occ.inspection.regions.find_boxes`.

        Args:
            score_map: of what is scored, after :meth:`limit`.
            threshold: scores above it belong to a region.
            shape: ``(height, width, ...)`` of what is scored.
        """
        boxes = find_boxes(score_map, threshold, shape)
        return boxes if self.roi is None else tuple(map(self.roi.in_frame, boxes))

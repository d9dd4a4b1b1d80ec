"""The heatmap of a frame as JPEG, drawn once for all that show it."""

from __future__ import annotations

import threading
import weakref

from edge_occ.inspection.result import Inspection
from edge_occ.output.heatmap import encode_jpeg, overlay


class Renderer:
    """Draws heatmaps; the latest one is kept, as the threads that publish and keep it want it at about the same time.

    It may be called from any thread.

    Args:
        low, threshold: ends of the colour scale; see :func:`edge_occ.output.heatmap.overlay`.
        longest_side: limit of the picture's height and width in pixels.
    """

    def __init__(self, low: float, threshold: float, longest_side: int) -> None:
        self._low, self._threshold, self._longest_side = low, threshold, longest_side
        self._lock = threading.Lock()
        # A weak reference, because the inspection holds the whole frame.
        self._latest: weakref.ref[Inspection] | None = None
        self._jpeg = b""

    def __call__(self, inspection: Inspection) -> bytes:
        """Return the JPEG of an inspection with its picture."""
        with self._lock:
            if self._latest is None or self._latest() is not inspection:
                frame, scores = inspection.frame.image, inspection.scores.map
                self._jpeg = encode_jpeg(overlay(frame, scores, self._low, self._threshold, self._longest_side))
                self._latest = weakref.ref(inspection)
            return self._jpeg

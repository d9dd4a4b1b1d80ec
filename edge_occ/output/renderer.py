"""The heatmap of a frame as JPEG, drawn once for all that show it."""

from __future__ import annotations

import threading
import time
import weakref

from edge_occ.inspection.metrics import Latencies, Stage
from edge_occ.inspection.result import Inspection
from edge_occ.output.heatmap import encode_jpeg, overlay


class Renderer:
    """Draws heatmaps; the latest one is kept, as the threads that publish and keep it want it at about the same time.

    It may be called from any thread.

    Args:
        low, threshold: ends of the colour scale; see :func:`edge_occ.output.heatmap.overlay`.
        longest_side: limit of the picture's height and width in pixels.
        latencies: where the time that a picture takes is recorded.
    """

    def __init__(self, low: float, threshold: float, longest_side: int, latencies: Latencies | None = None) -> None:
        self._longest_side, self._latencies = longest_side, latencies or Latencies()
        self._low, self._threshold = low, threshold
        self._lock = threading.Lock()
        # A weak reference, because the inspection holds the whole frame.
        self._latest: weakref.ref[Inspection] | None = None
        self._jpeg = b""

    def scale(self, low: float, threshold: float) -> None:
        """Draw with another colour scale from now on, as after a recalibration."""
        with self._lock:
            self._low, self._threshold = low, threshold

    def __call__(self, inspection: Inspection) -> bytes:
        """Return the JPEG of an inspection with its picture."""
        with self._lock:
            if self._latest is None or self._latest() is not inspection:
                begun = time.monotonic()
                frame, scores = inspection.frame.image, inspection.scores.map
                self._jpeg = encode_jpeg(overlay(frame, scores, self._low, self._threshold, self._longest_side))
                self._latest = weakref.ref(inspection)
                self._latencies.record(Stage.ENCODE, time.monotonic() - begun)
            return self._jpeg

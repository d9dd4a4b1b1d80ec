"""A fake engine in numpy, for tests and demonstrations on machines without a runtime.

It holds to the whole :class:`engines.base.Engine` protocol: its scores depend on the frame and on the head, and are
the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engines.base import MEAN, WHITENING, Graph, Scores, require_head
from engines.frame import require_frame

GRID, CELL = 4, 4
"""Rows and columns of features, and pixels of the map on either side of one."""

_SHAPES = {MEAN: (1, 1, 3), WHITENING: (1, 1, 3, 3)}


def fake_graph(precision: str = "fp32") -> Graph:
    """Return a graph for :class:`FakeEngine`: no model, and the head of a grey that varies by 0.1 in each colour."""
    head = {MEAN: np.full(_SHAPES[MEAN], 0.5, np.float32), WHITENING: 10 * np.eye(3, dtype=np.float32)[None, None]}
    return Graph(b"", precision, head)


class FakeEngine:
    """An engine whose features are the colours of a grid of pixels, with one Gaussian head.

    Args:
        graph: only its head and its precision are used.

    Raises:
        GraphRefused: the head is not one of :func:`fake_graph`'s shapes.
    """

    name = "fake"
    detail = "numpy, for tests"
    parallel = 1

    def __init__(self, graph: Graph) -> None:
        self.precision = graph.precision
        self._closed = False
        self.set_head(graph.head)

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame by the squared Mahalanobis distance of its features."""
        (features,) = self.features(frame)
        whitened = np.einsum("ijkd,ijd->ijk", self._head[WHITENING], features - self._head[MEAN])
        score_map = np.square(whitened).sum(2).repeat(CELL, 0).repeat(CELL, 1)
        return Scores(float(score_map.max()), score_map)

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return the colours of the grid, 0 to 1, float32 ``[GRID, GRID, 3]``."""
        self._require_open()
        require_frame(frame)
        rows, columns = (np.arange(GRID) * size // GRID for size in frame.shape[:2])
        return [frame[rows[:, None], columns].astype(np.float32) / np.float32(255)]

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; raises GraphRefused as :func:`engines.base.require_head`."""
        self._require_open()
        require_head(head, _SHAPES)
        self._head = {name: value.copy() for name, value in head.items()}

    def close(self) -> None:
        """End the engine's use; a second call has no effect."""
        self._closed = True

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the fake engine is closed")

"""What an engine is: a bundle's graph, ready to score frames on this machine.

The graph takes the raw camera frame and the tensors of the one-class head, and gives the image score and the score map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FRAME = "frame"
"""Graph input: the camera frame, uint8 ``[height, width, 3]`` in BGR order, of any size."""

MEAN, WHITENING = "mean", "whitening"
"""Graph inputs: the head, float32 ``[rows, columns, d]`` and ``[rows, columns, d, d]``; one row and column if
shared."""

SCORE, MAP, FEATURES = "score", "map", "features"
"""Graph outputs: float32 ``[1]``, ``[height, width]`` of the resized frame, and ``[rows, columns, d]``."""

IMAGES = "images"
"""Input of the encoder graph: uint8 ``[n, height, width, 3]`` BGR, not resized; its output is :data:`FEATURES`, float32
``[n, rows, columns, d]``."""


@dataclass(frozen=True)
class Graph:
    """What an engine is made from.

    Attributes:
        onnx: the serialised ONNX model.
        precision: arithmetic of its encoder half: ``fp32``, ``fp16`` or ``int8``.
        head: values of :data:`MEAN` and :data:`WHITENING`.
    """

    onnx: bytes
    precision: str
    head: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Scores:
    """What the graph says of one frame; higher is more anomalous.

    Attributes:
        score: image score, squared Mahalanobis units, at least 0.
        map: score of each pixel of the resized frame, float32 ``[rows, columns]``, same units.
    """

    score: float
    map: NDArray[np.float32]


class Engine(Protocol):
    """Scores frames; one thread at a time."""

    @property
    def name(self) -> str:
        """The runtime, say ``cpu``."""

    @property
    def precision(self) -> str:
        """Arithmetic of the encoder: ``fp32``, ``fp16`` or ``int8``."""

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, ``[height, width, 3]`` BGR."""

    def close(self) -> None:
        """Give everything back; the engine cannot be used afterwards."""

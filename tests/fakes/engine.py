"""An engine of which a test replaces only what it is about."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engines.base import Engine, Scores


class PartialEngine(Engine):
    """The whole protocol of an engine; every frame has score 0, and the head is not used."""

    name = "fake"
    precision = "fp32"
    parallel = 1

    @property
    def detail(self) -> str:
        return "of a test"

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        return Scores(0.0, np.zeros((10, 15), np.float32))

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [np.zeros((1, 1, 3), np.float32)]

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None: ...

    def close(self) -> None: ...

"""OpenCV's own inference, the last choice: OpenCV is installed anyway, as it reads the frames.

It needs OpenCV 5: versions 4.5 to 4.14 load no graph whose frame height and width are free.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import FRAME, MAP, SCORE, Graph, Scores, feature_outputs, require_head
from engines.errors import EngineUnavailable
from engines.frame import require_frame
from engines.processors import thread_count


class OpenCvEngine:
    """Scores frames with ``cv2.dnn`` on the CPU.

    Args:
        graph: model and head.
        threads: threads of all of OpenCV in this process, see :func:`engines.processors.thread_count`.

    Raises:
        EngineUnavailable: this OpenCV cannot run the graph with this head.
    """

    name = "opencv"
    parallel = 1

    def __init__(self, graph: Graph, threads: int | None = None) -> None:
        self.precision = graph.precision
        self.detail = f"OpenCV {cv2.__version__} on the CPU"
        cv2.setNumThreads(thread_count(threads))
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(graph.onnx, np.uint8))
            # OpenCV computes all outputs or refuses.
            self._outputs = list(self._net.getUnconnectedOutLayersNames())
            self._shapes = {key: value.shape for key, value in graph.head.items()}
            self.set_head(graph.head)
            # The head meets the graph in the first run.
            self.infer(np.zeros((2, 2, 3), np.uint8))
        except cv2.error as error:
            raise EngineUnavailable(
                "a graph and a head that OpenCV can run",
                f"OpenCV {cv2.__version__} says: {_words(error)}",
                "install onnxruntime, which can: pip install onnxruntime, or OpenCV 5 or newer",
            ) from error

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR; raises FrameRefused as :func:`engines.frame.require_frame`."""
        outputs = self._run(frame)
        return Scores(float(outputs[SCORE][0]), outputs[MAP])

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Projected features of one frame, float32 ``[rows, columns, d]`` for each branch."""
        outputs = self._run(frame)
        return [outputs[name] for name in feature_outputs(outputs)]

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; raises GraphRefused as :func:`engines.base.require_head`."""
        require_head(head, self._shapes)
        for key, value in head.items():
            self._net.setInput(value, key)

    def close(self) -> None:
        """Drop the graph and the head."""
        del self._net

    def _run(self, frame: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        require_frame(frame)
        self._net.setInput(np.ascontiguousarray(frame), FRAME)
        results = self._net.forward(self._outputs)
        return {key: np.asarray(value, np.float32) for key, value in zip(self._outputs, results, strict=True)}


def _words(error: cv2.error) -> str:
    """Return the reason in an error of OpenCV, without the names of its source files."""
    return " ".join(str(error).rsplit("error: ", 1)[-1].split())

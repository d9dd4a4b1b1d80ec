"""The TensorRT engine: a graph that NVIDIA's compiler builds once for this GPU and that then runs from a cache."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from engines.base import EngineOptions, Graph, Progress, Scores
from engines.cuda.driver import CudaDriver
from engines.cuda.probe import require_gpu
from engines.cuda.pycuda import open_driver
from engines.errors import FrameRefused
from engines.frame import require_frame
from engines.tensorrt.api import load_tensorrt
from engines.tensorrt.plans import open_session, plan_key
from engines.tensorrt.session import Buffers, Session


class TensorRTEngine:
    """An engine on an NVIDIA GPU, for the thread that opened it.

    Args:
        session: a plan with its head.
        driver: closed together with the engine.
        precision: arithmetic of the encoder.
        max_frame: largest height and width.
        where: version, device and memory, as text.
    """

    name = "tensorrt"
    parallel = 1

    def __init__(
        self, session: Session, driver: CudaDriver, precision: str, max_frame: tuple[int, int], where: str
    ) -> None:
        self.precision = precision
        self._session, self._driver, self._max_frame, self._where = session, driver, max_frame, where
        self._thread = threading.get_ident()
        self._closed = False

    @property
    def detail(self) -> str:
        """Version, device, memory, and the way work is submitted to the GPU."""
        return f"{self._where}, {self._session.launches}"

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR, not larger than the engine was built for.

        Raises:
            FrameRefused: it is larger, or no frame; see :func:`engines.frame.require_frame`.
            EngineUnavailable: TensorRT failed.
        """
        self._require_scorable(frame)
        return self._session.run(frame)

    def features(self, frame: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Projected features of one frame, float32 ``[rows, columns, d]`` for each branch; raises as :meth:`infer`."""
        self._require_scorable(frame)
        self._session.run(frame)
        return self._session.features()

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Replace the head; raises GraphRefused as :func:`engines.base.require_head`."""
        self._require_owner()
        self._session.set_head(head)

    def close(self) -> None:
        """Drop TensorRT's objects, then CUDA's; a second call has no effect."""
        if self._closed:
            return
        self._require_owner()
        self._closed = True
        self._session.close()
        self._driver.close()

    def _require_scorable(self, frame: NDArray[np.uint8]) -> None:
        self._require_owner()
        require_frame(frame)
        tallest, widest = self._max_frame
        if frame.shape[0] > tallest or frame.shape[1] > widest:
            raise FrameRefused(
                f"frames of at most {tallest}x{widest}, for which the engine was built",
                f"one of {frame.shape[0]}x{frame.shape[1]}",
                f"set engine.max_frame to [{max(tallest, frame.shape[0])}, {max(widest, frame.shape[1])}] in --config",
            )

    def _require_owner(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a TensorRT engine belongs to the thread that opened it")
        if self._closed:
            raise RuntimeError("the TensorRT engine is closed")


def open_tensorrt(graph: Graph, options: EngineOptions, progress: Progress | None = None) -> TensorRTEngine:
    """Load the graph's engine for this machine; the first time it is built, which takes minutes.

    The caller checks its results with :func:`engines.parity.require_parity`.

    Args:
        graph: model and head.
        options: settings.
        progress: called during a build.

    Raises:
        EngineUnavailable: no GPU, no TensorRT, no writable cache, not enough memory, or TensorRT refuses the graph.
        GraphRefused: the head does not fit the graph.
    """
    # First of all: without a driver TensorRT would end the interpreter.
    require_gpu()
    api = load_tensorrt()
    driver = open_driver(options.driver, options.spin)
    session: Session | None = None
    try:
        mapped = options.memory == "mapped" or (options.memory == "auto" and driver.device.integrated)
        buffers = Buffers(driver, mapped, options.max_frame)
        session = open_session(api, buffers, graph, options, progress or _silent)
        session.set_head(graph.head)
        # Everything that can fail fails now; the second run is captured.
        for _ in range(2):
            session.run(np.zeros((*plan_key(graph, options).frame, 3), np.uint8))
    except BaseException:
        if session is not None:
            session.close()
        driver.close()
        raise
    where = f"TensorRT {api.text} on {driver.device.name}, {'mapped' if mapped else 'copied'} memory"
    return TensorRTEngine(session, driver, graph.precision, options.max_frame, where)


def _silent(_step: str, _done: float) -> None:
    pass

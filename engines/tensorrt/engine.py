"""TensorRT, NVIDIA's compiler: the graph built for this very GPU, once, and then run from its cache."""

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
from engines.tensorrt.plans import Order, choose_typing, open_session
from engines.tensorrt.session import Buffers, Session


class TensorRTEngine:
    """Scores frames on an NVIDIA GPU; for the thread that opened it.

    Args:
        session: a plan with its head.
        driver: closed together with the engine.
        precision: arithmetic of the encoder.
        typing: how it was built, ``strong`` or ``weak``.
        max_frame: largest height and width.
        where: version, device and memory, for people.
    """

    name = "tensorrt"

    def __init__(
        self,
        session: Session,
        driver: CudaDriver,
        precision: str,
        typing: str,
        max_frame: tuple[int, int],
        where: str,
    ) -> None:
        self.precision, self.typing = precision, typing
        self._session, self._driver, self._max_frame, self._where = session, driver, max_frame, where
        self._thread = threading.get_ident()
        self._closed = False

    @property
    def detail(self) -> str:
        """Version, device, typing, memory, and how the GPU gets its work."""
        return f"{self._where}, {self.typing}ly typed, {self._session.launches}"

    def infer(self, frame: NDArray[np.uint8]) -> Scores:
        """Score one frame, uint8 ``[h, w, 3]`` BGR, not larger than the engine was built for.

        Raises:
            FrameRefused: it is larger, or no frame; see :func:`engines.frame.require_frame`.
            EngineUnavailable: TensorRT failed.
        """
        self._require_owner()
        require_frame(frame)
        tallest, widest = self._max_frame
        if frame.shape[0] > tallest or frame.shape[1] > widest:
            raise FrameRefused(
                f"frames of at most {tallest}x{widest}, for which the engine was built",
                f"one of {frame.shape[0]}x{frame.shape[1]}",
                f"set engine.max_frame to [{max(tallest, frame.shape[0])}, {max(widest, frame.shape[1])}] in --config",
            )
        return self._session.run(frame)

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Swap the head; nothing is rebuilt.

        Raises:
            EngineUnavailable: its tensors are not those of the graph; the earlier head is kept.
        """
        self._require_owner()
        self._session.set_head(head)

    def close(self) -> None:
        """Drop TensorRT's objects, then CUDA's; without effect the second time."""
        if self._closed:
            return
        self._require_owner()
        self._closed = True
        self._session.close()
        self._driver.close()

    def _require_owner(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a TensorRT engine belongs to the thread that opened it")
        if self._closed:
            raise RuntimeError("the TensorRT engine is closed")


def open_tensorrt(
    graph: Graph, options: EngineOptions, *, weak: bytes | None = None, progress: Progress | None = None
) -> TensorRTEngine:
    """Load the graph's engine for this machine; the first time it is built, which takes minutes.

    The caller checks what it computes: see :func:`engines.parity.require_parity`.

    Args:
        graph: model and head.
        options: settings.
        weak: the fp32 model, for a weakly typed build of an fp16 graph; only TensorRT before 10.12 is given it.
        progress: told of a build.

    Raises:
        EngineUnavailable: no GPU, no TensorRT, no writable cache, not enough memory, or TensorRT refuses the graph.
        UserError: weak typing, with a TensorRT that does not have it.
    """
    # First of all: without a driver TensorRT would end the interpreter.
    require_gpu()
    api = load_tensorrt()
    typing = choose_typing(options.typing, api.version, graph.precision, weak)
    driver = open_driver(options.driver, options.spin)
    session: Session | None = None
    try:
        mapped = options.memory == "mapped" or (options.memory == "auto" and driver.device.integrated)
        buffers = Buffers(driver, mapped, options.max_frame)
        order = Order(graph, weak, options, typing, progress or _silent)
        session, built = open_session(api, buffers, order)
        session.set_head(graph.head)
        # Everything that can fail shall do so now; the second run is the one that is captured.
        session.median_ms(np.zeros((*order.usual_frame, 3), np.uint8), 1)
    except BaseException:
        if session is not None:
            session.close()
        driver.close()
        raise
    where = f"TensorRT {api.text} on {driver.device.name}, {'mapped' if mapped else 'copied'} memory"
    return TensorRTEngine(session, driver, graph.precision, built, options.max_frame, where)


def _silent(_what: str, _done: float) -> None:
    pass

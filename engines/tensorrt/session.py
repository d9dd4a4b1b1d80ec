"""A plan in use: runtime, engine, context, the memory they work on, and the CUDA graph of one frame."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FRAME, MAP, SCORE, Scores
from engines.cuda.driver import CudaDriver
from engines.cuda.graph import CudaGraph, capture
from engines.errors import EngineUnavailable
from engines.tensorrt.api import TensorRT
from engines.tensorrt.plan import PlanRejected


class Buffers:
    """Memory of the graph's tensors, kept by name from one session to the next on the same driver.

    Args:
        driver: owns the memory.
        mapped: the GPU works on page-locked host memory in place; else frame and results are copied.
        max_frame: largest height and width of a frame.
    """

    def __init__(self, driver: CudaDriver, mapped: bool, max_frame: tuple[int, int]) -> None:
        self.driver, self.mapped, self.max_frame = driver, mapped, max_frame
        self.frame, self.frame_address = self._page_locked(math.prod(max_frame) * 3)
        self._device: dict[str, tuple[int, int]] = {}
        self._host: dict[str, tuple[NDArray[np.uint8], int]] = {}

    def device(self, name: str, nbytes: int) -> int:
        """Device memory of a tensor."""
        address, size = self._device.get(name, (0, -1))
        if size < nbytes:
            address = self.driver.allocate(max(1, nbytes))
            self._device[name] = (address, nbytes)
        return address

    def host(self, name: str, nbytes: int) -> tuple[NDArray[np.uint8], int]:
        """Page-locked memory of a result, and where the GPU writes it."""
        if name not in self._host or self._host[name][0].nbytes != nbytes:
            self._host[name] = self._page_locked(nbytes)
        return self._host[name]

    def upload(self, address: int, values: NDArray[np.float32]) -> None:
        """Copy to device memory, through the frame's memory, which is page-locked and free between two frames."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        for start in range(0, data.nbytes, self.frame.nbytes):
            part = self.frame[: min(self.frame.nbytes, data.nbytes - start)]
            part[:] = data[start : start + part.nbytes]
            self.driver.to_device(address + start, part)
            self.driver.synchronize()

    def _page_locked(self, nbytes: int) -> tuple[NDArray[np.uint8], int]:
        array, address = self.driver.page_locked(nbytes, mapped=self.mapped)
        return array, address if self.mapped else self.driver.allocate(nbytes)


class Session:
    """Scores frames with one plan; in the thread that made the driver.

    Args:
        api: TensorRT.
        plan: a serialised engine that may be trusted.
        buffers: memory; only one open session may use it.

    Raises:
        PlanRejected: this TensorRT cannot load the plan.
        EngineUnavailable: memory does not suffice.
    """

    def __init__(self, api: TensorRT, plan: bytes, buffers: Buffers) -> None:
        self._api, self._buffers, self._driver = api, buffers, buffers.driver
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._graph: CudaGraph | None = None
        self._may_capture, self._ran = True, False
        self._size: tuple[int, int] | None = None
        self._frame = buffers.frame
        self._head: dict[str, tuple[tuple[int, ...], int]] = {}
        self._results: dict[str, tuple[NDArray[np.uint8], int, tuple[int, ...]]] = {}
        try:
            self._load(plan)
            self._bind()
        except BaseException:
            self.close()
            raise

    @property
    def launches(self) -> str:
        """How the GPU gets its work: ``CUDA graph`` or ``plain enqueue``."""
        return "CUDA graph" if self._graph is not None else "plain enqueue"

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Put another head on the device; nothing is rebuilt.

        Raises:
            EngineUnavailable: it does not belong to the graph, and the earlier one is kept.
        """
        wanted = {name: shape for name, (shape, _) in self._head.items()}
        given = {name: value.shape for name, value in head.items() if value.dtype == np.float32}
        if given != wanted:
            raise EngineUnavailable(
                f"a head of {wanted}", f"a head of {given}", "train the bundle anew: its parts do not belong together"
            )
        for name, value in head.items():
            self._buffers.upload(self._head[name][1], value)

    def run(self, frame: NDArray[np.uint8]) -> Scores:
        """Score a frame, uint8 ``[h, w, 3]``, not larger than the buffers' largest."""
        height, width, _ = frame.shape
        if self._size != (height, width):
            self._resize(height, width)
        np.copyto(self._frame.reshape(frame.shape), frame)
        # A size that came only once is not worth a graph, and TensorRT must have run once before it is captured.
        if self._graph is None and self._ran and self._may_capture:
            self._graph = capture(self._driver.stream, self._enqueue)
            self._may_capture = self._graph is not None
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()
        self._driver.synchronize()
        self._ran = True
        return Scores(float(self._result(SCORE)[0]), self._result(MAP).copy())

    def median_ms(self, frame: NDArray[np.uint8], runs: int) -> float:
        """Median time of one frame in milliseconds, after a warm-up of as many runs."""
        spans = []
        for _ in range(2 * runs):
            start = time.perf_counter()
            self.run(frame)
            spans.append(time.perf_counter() - start)
        return 1e3 * statistics.median(spans[runs:])

    def layers(self) -> str:
        """What TensorRT made of the graph: its inspector's JSON."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._api.trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Drop graph, context, engine and runtime, in this order; the memory stays with the driver."""
        if self._graph is not None:
            self._graph.close()
        if self._context is not None:
            with suppress(EngineUnavailable):  # a GPU that fails has nothing in flight
                self._driver.synchronize()
        self._graph = None
        self._context = None
        self._engine = None
        self._runtime = None

    def _load(self, plan: bytes) -> None:
        api = self._api
        api.said.clear()
        self._runtime = api.trt.Runtime(api.logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise PlanRejected(api.unavailable("a plan").found)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise api.unavailable("enough GPU memory to run the engine")

    def _bind(self) -> None:
        self._set_size(*self._buffers.max_frame)
        engine, trt = self._engine, self._api.trt
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            shape = tuple(self._context.get_tensor_shape(name))
            nbytes = math.ceil(math.prod(shape) * engine.get_tensor_dtype(name).itemsize)
            if name == FRAME:
                address = self._buffers.frame_address
            elif name in {SCORE, MAP}:
                array, address = self._buffers.host(name, nbytes)
                self._results[name] = (array, address, shape)
            else:
                address = self._buffers.device(name, nbytes)
            if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT and name != FRAME:
                self._head[name] = (shape, address)
            self._context.set_tensor_address(name, address)

    def _resize(self, height: int, width: int) -> None:
        if self._graph is not None:
            self._graph.close()
        self._graph, self._ran, self._size = None, False, None
        self._set_size(height, width)
        self._size = (height, width)
        self._frame = self._buffers.frame[: height * width * 3]

    def _set_size(self, height: int, width: int) -> None:
        self._api.said.clear()
        try:
            known = self._context.set_input_shape(FRAME, (height, width, 3)) and not self._context.infer_shapes()
        except RuntimeError:  # what it means by it, it has logged
            known = False
        if not known:
            raise self._api.unavailable(f"a graph for frames of {height}x{width}")

    def _enqueue(self) -> None:
        copied = not self._buffers.mapped
        if copied:
            self._driver.to_device(self._buffers.frame_address, self._frame)
        if not self._context.execute_async_v3(self._driver.stream):
            raise self._api.unavailable("a frame that TensorRT can score")
        if copied:
            for array, address, _ in self._results.values():
                self._driver.to_host(array, address)

    def _result(self, name: str) -> NDArray[np.float32]:
        array, _, shape = self._results[name]
        return array.view(np.float32).reshape(shape)

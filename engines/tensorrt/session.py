"""A loaded plan: runtime, engine, context, their memory, and the CUDA graph of one frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.base import FRAME, MAP, SCORE, Scores, feature_outputs, require_head
from engines.cuda.driver import CudaDriver
from engines.cuda.graph import CudaGraph, capture
from engines.errors import EngineUnavailable
from engines.tensorrt.api import TensorRT
from engines.tensorrt.plan import PlanRejected


class Buffers:
    """Memory of a session's tensors.

    Args:
        driver: owns the memory.
        mapped: whether the GPU works on page-locked host memory in place; else frame and results are copied.
        max_frame: largest height and width of a frame.
    """

    def __init__(self, driver: CudaDriver, mapped: bool, max_frame: tuple[int, int]) -> None:
        self.driver, self.mapped, self.max_frame = driver, mapped, max_frame
        self.frame, self.frame_address = self.page_locked(math.prod(max_frame) * 3)

    def page_locked(self, nbytes: int) -> tuple[NDArray[np.uint8], int]:
        """Return page-locked host memory, and the address at which the GPU reads or writes its content."""
        array, address = self.driver.page_locked(nbytes, mapped=self.mapped)
        return array, address if self.mapped else self.driver.allocate(nbytes)

    def upload(self, address: int, values: NDArray[np.float32]) -> None:
        """Copy to device memory, between two frames."""
        data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        for start, part in self._parts(data.nbytes):
            part[:] = data[start : start + part.nbytes]
            self.driver.to_device(address + start, part)
            self.driver.synchronize()

    def download(self, address: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Copy from device memory, between two frames."""
        values = np.empty(shape, np.float32)
        data = values.reshape(-1).view(np.uint8)
        for start, part in self._parts(data.nbytes):
            self.driver.to_host(part, address + start)
            self.driver.synchronize()
            data[start : start + part.nbytes] = part
        return values

    def _parts(self, nbytes: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Split a copy into parts of the frame's memory, which is page-locked and unused between two frames."""
        for start in range(0, nbytes, self.frame.nbytes):
            yield start, self.frame[: min(self.frame.nbytes, nbytes - start)]


class Session:
    """A plan that scores frames, in the thread that opened the driver.

    Args:
        api: TensorRT.
        plan: a serialised engine, verified.
        buffers: memory; only one open session may use it.

    Raises:
        PlanRejected: this TensorRT cannot load the plan.
        EngineUnavailable: there is not enough memory.
    """

    def __init__(self, api: TensorRT, plan: bytes, buffers: Buffers) -> None:
        self._api, self._buffers, self._driver = api, buffers, buffers.driver
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._graph: CudaGraph | None = None
        self._can_capture, self._ran = True, False
        self._size: tuple[int, int] | None = None
        self._frame = buffers.frame
        self._head: dict[str, tuple[tuple[int, ...], int]] = {}
        self._features: dict[str, tuple[tuple[int, ...], int]] = {}
        self._results: dict[str, tuple[NDArray[np.uint8], int, tuple[int, ...]]] = {}
        try:
            self._load(plan)
            self._bind()
        except BaseException:
            self.close()
            raise

    @property
    def launches(self) -> str:
        """The way work is submitted to the GPU: ``CUDA graph`` or ``plain enqueue``."""
        return "CUDA graph" if self._graph is not None else "plain enqueue"

    def set_head(self, head: Mapping[str, NDArray[np.float32]]) -> None:
        """Copy a head to the device; raises GraphRefused as :func:`engines.base.require_head`."""
        require_head(head, {name: shape for name, (shape, _) in self._head.items()})
        for name, value in head.items():
            self._buffers.upload(self._head[name][1], value)

    def run(self, frame: NDArray[np.uint8]) -> Scores:
        """Score a frame, uint8 ``[h, w, 3]``, not larger than the buffers' largest."""
        height, width, _ = frame.shape
        if self._size != (height, width):
            self._resize(height, width)
        np.copyto(self._frame.reshape(frame.shape), frame)
        # A single frame of a size is not worth a graph, and TensorRT must have run once before it is captured.
        if self._graph is None and self._ran and self._can_capture:
            self._graph = capture(self._driver.stream, self._enqueue)
            self._can_capture = self._graph is not None
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()
        self._driver.synchronize()
        self._ran = True
        return Scores(float(self._result(SCORE)[0]), self._result(MAP).copy())

    def features(self) -> list[NDArray[np.float32]]:
        """Return the features of the latest frame, ``[rows, columns, d]`` for each branch."""
        named = (self._features[name] for name in feature_outputs(self._features))
        return [self._buffers.download(address, shape) for shape, address in named]

    def layers(self) -> str:
        """Return the inspector's JSON, which describes the layers of the plan."""
        inspector = self._engine.create_engine_inspector()
        return str(inspector.get_engine_information(self._api.trt.LayerInformationFormat.JSON))

    def close(self) -> None:
        """Drop graph, context, engine and runtime, in this order; the driver frees the memory."""
        if self._graph is not None:
            self._graph.close()
        if self._context is not None:
            with suppress(EngineUnavailable):  # a GPU that failed has no work in flight
                self._driver.synchronize()
        self._graph = None
        self._context = None
        self._engine = None
        self._runtime = None

    def _load(self, plan: bytes) -> None:
        api = self._api
        api.errors.clear()
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
                array, address = self._buffers.page_locked(nbytes)
                self._results[name] = (array, address, shape)
            else:
                address = self._driver.allocate(max(1, nbytes))
                is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
                (self._head if is_input else self._features)[name] = (shape, address)
            self._context.set_tensor_address(name, address)

    def _resize(self, height: int, width: int) -> None:
        if self._graph is not None:
            self._graph.close()
        self._graph, self._ran, self._size = None, False, None
        self._set_size(height, width)
        self._size = (height, width)
        self._frame = self._buffers.frame[: height * width * 3]

    def _set_size(self, height: int, width: int) -> None:
        self._api.errors.clear()
        try:
            known = self._context.set_input_shape(FRAME, (height, width, 3)) and not self._context.infer_shapes()
        except RuntimeError:  # the reason is in TensorRT's log
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

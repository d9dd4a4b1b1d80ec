"""The half of the fake ``tensorrt`` that runs plans; see ``fakes.tensorrt``."""

from __future__ import annotations

import ctypes
import json
import threading
import weakref
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from engines.onnxruntime import open_session
from fakes import cuda
from fakes.cuda_errors import CudaError

MAGIC = b"FAKEPLAN"
FROM_ORT = {
    "tensor(uint8)": ("UINT8", np.uint8),
    "tensor(float)": ("FLOAT", np.float32),
    "tensor(float16)": ("HALF", np.float16),
    "tensor(int64)": ("INT64", np.int64),
}


@lru_cache(4)
def session_of(onnx):
    return open_session(onnx, threads=1)


def view(address, dtype, shape):
    """The memory at an address as an array."""
    nbytes = prod(shape) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_uint8 * nbytes).from_address(address), dtype).reshape(shape)


class Template:
    """A class of the package, to be completed for one version."""

    _fake: Any
    """The :class:`fakes.tensorrt.FakeTensorRT` of that version."""


class Runtime(Template):
    def __init__(self, logger):
        assert logger._initialised, "pybind11: the logger's base was not initialised"
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        fake = self._fake
        if fake.null_engine:
            return fake.fail(self._logger, fake.null_engine)
        if not serialized_engine.startswith(MAGIC):
            return fake.fail(self._logger, "Error Code 1: Serialization (Magic tag does not match.)")
        length = int.from_bytes(serialized_engine[8:12], "little")
        settings = json.loads(serialized_engine[12 : 12 + length])
        if settings["version"] != fake.version:
            return fake.fail(self._logger, "Error Code 1: Serialization (Version tag does not match.)")
        return fake.module.ICudaEngine(self, settings, bytes(serialized_engine[12 + length :]))


class ICudaEngine(Template):
    def __init__(self, runtime, settings, onnx):
        self._runtime, self._settings, self._session = runtime, settings, session_of(onnx)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        mode = self._fake.module.TensorIOMode
        self._modes = {**{tensor.name: mode.INPUT for tensor in inputs}, **{t.name: mode.OUTPUT for t in outputs}}
        self._tensors = {tensor.name: tensor for tensor in inputs + outputs}

    num_io_tensors = property(lambda self: len(self._tensors))

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return self._modes[name]

    def get_tensor_dtype(self, name):
        return self._fake.module.DataType[FROM_ORT[self._tensors[name].type][0]]

    def get_tensor_shape(self, name):
        return tuple(size if isinstance(size, int) else -1 for size in self._tensors[name].shape)

    def create_execution_context(self):
        if self._fake.null_context:
            return self._fake.fail(self._runtime._logger, self._fake.null_context)
        return self._fake.module.IExecutionContext(self)

    def create_engine_inspector(self):
        return self._fake.module.EngineInspector(self)


class EngineInspector(Template):
    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):  # noqa: A002
        assert format is self._fake.module.LayerInformationFormat.JSON
        tensors = "I/O Tensors" if self._fake.major_minor >= (11, 4) else "Bindings"
        return json.dumps({"Layers": [{"Name": "conv"}], tensors: list(self._engine._tensors)})


class IExecutionContext(Template):
    def __init__(self, engine):
        self._engine, self._addresses, self._thread = engine, {}, threading.get_ident()
        self._shapes = {name: engine.get_tensor_shape(name) for name in engine._tensors}

    def set_input_shape(self, name, shape):
        least, _, most = self._engine._settings["shapes"][name]
        if not all(a <= size <= b for a, size, b in zip(least, shape, most, strict=True)):
            return self._refuse(f"Error Code 3: API Usage Error ({shape} of {name} is outside {least} to {most})")
        self._shapes[name] = tuple(shape)
        return True

    def infer_shapes(self):
        return [name for name, shape in self._shapes.items() if -1 in shape]

    def get_tensor_shape(self, name):
        return self._shapes[name]

    def set_tensor_address(self, name, memory):
        if name not in self._engine._tensors:
            return False
        self._addresses[name] = int(memory)
        return True

    def execute_async_v3(self, stream_handle):
        if self._fake.refuse_enqueue:
            return self._refuse(self._fake.refuse_enqueue)
        if set(self._addresses) != set(self._engine._tensors) or not all(self._addresses.values()):
            return self._refuse("Error Code 3: API Usage Error (an address is not set)")
        if self.infer_shapes():
            return self._refuse("Error Code 3: API Usage Error (a shape is not set)")
        if threading.get_ident() != self._thread:
            cuda.gpu().fault("a context used by another thread")
        try:
            cuda.submit(stream_handle, self._work())
        except CudaError as error:
            return self._refuse(f"Error Code 1: Cuda Runtime ({error})")
        self._fake.enqueued += 1
        return True

    def _work(self):
        """Return the work with the present shapes and addresses, which a captured graph keeps."""
        gpu, fake, session, context = cuda.gpu(), self._fake, self._engine._session, weakref.ref(self)
        inputs, outputs = ([t.name for t in tensors] for tensors in (session.get_inputs(), session.get_outputs()))
        where = {}
        for name, tensor in self._engine._tensors.items():
            where[name] = (self._addresses[name], FROM_ORT[tensor.type][1], self._shapes[name])

        def require_memory():
            for address, dtype, shape in where.values():
                gpu.require(address, prod(shape) * np.dtype(dtype).itemsize)

        def work():
            if context() is None:
                gpu.fault("an execution context used after it was dropped")
                return
            require_memory()
            results = session.run(outputs, {name: view(*where[name]).copy() for name in inputs})
            for name, result in zip(outputs, results, strict=True):
                view(*where[name])[...] = result * result.dtype.type(fake.scale)

        require_memory()
        return work

    def _refuse(self, text):
        self._fake.fail(self._engine._runtime._logger, text)
        return False


CLASSES = (Runtime, ICudaEngine, EngineInspector, IExecutionContext)

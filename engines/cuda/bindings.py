"""CUDA through NVIDIA's own package cuda-bindings, which needs no compiler to install."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.cuda.common import NON_BLOCKING, Owner, out_of_memory, refused, require_contiguous
from engines.cuda.driver import Device
from engines.cuda.libcuda import Libcuda
from engines.cuda.probe import require_gpu
from engines.errors import EngineUnavailable

_NAME_LENGTH = 256
"""Bytes for a device's name."""


def import_bindings() -> ModuleType:
    """The module ``cuda.bindings.driver``.

    Raises:
        EngineUnavailable: it is not installed.
    """
    try:
        return importlib.import_module("cuda.bindings.driver")
    except (ImportError, RuntimeError) as error:
        raise EngineUnavailable(
            "the Python package cuda-bindings", str(error), "install it: pip install cuda-bindings"
        ) from error


class BindingsDriver:
    """The first GPU, through cuda-bindings; see :class:`engines.cuda.driver.CudaDriver`.

    Args:
        spin: wait for the GPU with a busy processor instead of asleep.

    Raises:
        EngineUnavailable: no GPU, no driver, or no cuda-bindings.
    """

    name = "cuda-bindings"

    def __init__(self, spin: bool = False) -> None:
        require_gpu()
        self._cuda = import_bindings()
        self._buffers = ExitStack()
        with ExitStack() as cleanup:
            self._call(self._cuda.cuInit, 0)
            gpu = self._call(self._cuda.cuDeviceGet, 0)
            Libcuda().wait_by_spinning(spin)
            context = self._call(self._cuda.cuDevicePrimaryCtxRetain, gpu)
            cleanup.callback(self._call, self._cuda.cuDevicePrimaryCtxRelease, gpu)
            self._call(self._cuda.cuCtxPushCurrent, context)
            cleanup.callback(self._call, self._cuda.cuCtxPopCurrent)
            self._stream = self._call(self._cuda.cuStreamCreate, NON_BLOCKING)
            cleanup.callback(self._call, self._cuda.cuStreamDestroy, self._stream)
            cleanup.callback(self._buffers.close)
            cleanup.callback(self._call, self._cuda.cuStreamSynchronize, self._stream)
            self.stream = int(self._stream)
            self.device = self._describe(gpu)
            self._owner = Owner(cleanup.pop_all())

    def free_memory(self) -> int:
        """Bytes free on the device now."""
        self._owner.require()
        free, _ = self._call(self._cuda.cuMemGetInfo)
        return int(free)

    def allocate(self, nbytes: int) -> int:
        """Device memory; returns its address."""
        self._owner.require()
        address = int(self._reserve("device", nbytes, self._cuda.cuMemAlloc, nbytes))
        self._buffers.callback(self._call, self._cuda.cuMemFree, address)
        return address

    def page_locked(self, nbytes: int, *, mapped: bool) -> tuple[NDArray[np.uint8], int]:
        """Host memory, and the address at which the GPU sees it if ``mapped``, else 0."""
        self._owner.require()
        flags = self._cuda.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0
        pointer = int(self._reserve("page-locked", nbytes, self._cuda.cuMemHostAlloc, nbytes, flags))
        self._buffers.callback(self._call, self._cuda.cuMemFreeHost, pointer)
        array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(pointer))
        return array, int(self._call(self._cuda.cuMemHostGetDevicePointer, pointer, 0)) if mapped else 0

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous page-locked array to device memory, in the stream."""
        self._owner.require()
        source = require_contiguous(array).ctypes.data
        self._call(self._cuda.cuMemcpyHtoDAsync, address, source, array.nbytes, self._stream)

    def to_host(self, array: NDArray[Any], address: int) -> None:
        """Copy device memory into a contiguous page-locked array, in the stream."""
        self._owner.require()
        target = require_contiguous(array).ctypes.data
        self._call(self._cuda.cuMemcpyDtoHAsync, target, address, array.nbytes, self._stream)

    def synchronize(self) -> None:
        """Wait until the stream has done everything; other threads run meanwhile."""
        self._owner.require()
        self._call(self._cuda.cuStreamSynchronize, self._stream)

    def close(self) -> None:
        """Free buffers, the stream and the context, in this order; returned arrays must not be used afterwards."""
        self._owner.close()

    def _describe(self, gpu: object) -> Device:
        def attribute(name: str) -> int:
            key = getattr(self._cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
            return int(self._call(self._cuda.cuDeviceGetAttribute, key, gpu))

        name: bytes = self._call(self._cuda.cuDeviceGetName, _NAME_LENGTH, gpu)
        return Device(
            name=name.split(b"\0", 1)[0].decode(errors="replace"),
            capability=(attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")),
            multiprocessors=attribute("MULTIPROCESSOR_COUNT"),
            driver=int(self._call(self._cuda.cuDriverGetVersion)),
            memory=int(self._call(self._cuda.cuDeviceTotalMem, gpu)),
            integrated=bool(attribute("INTEGRATED")),
        )

    def _reserve(self, kind: str, nbytes: int, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        code, value = function(*arguments)
        if code == self._cuda.CUresult.CUDA_ERROR_OUT_OF_MEMORY:
            raise out_of_memory(kind, nbytes, self.free_memory())
        self._require_success(function, code)
        return value

    def _call(self, function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
        """Call a function of the package and return its results without the code: ``[]``, one value or a list."""
        try:
            code, *values = function(*arguments)
        except RuntimeError as error:  # the package has not found the driver, or not this function in it
            raise refused(error) from error
        self._require_success(function, code)
        return values[0] if len(values) == 1 else values

    def _require_success(self, function: Callable[..., Any], code: int) -> None:
        if code != self._cuda.CUresult.CUDA_SUCCESS:
            _, text = self._cuda.cuGetErrorString(code)
            message = text.decode(errors="replace") if text else "unknown to this driver"
            raise refused(f"{function.__name__}: error {code:d}, {message}")

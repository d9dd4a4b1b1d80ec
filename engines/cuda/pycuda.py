"""CUDA through pycuda, the usual package on a Jetson, and the choice between it and cuda-bindings.

The primary context is shared with other libraries of this process; pycuda.autoinit would make another one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.cuda.bindings import BindingsDriver, import_bindings
from engines.cuda.common import NON_BLOCKING, Owner, out_of_memory, refused, require_contiguous
from engines.cuda.driver import CudaDriver, Device
from engines.cuda.libcuda import CudaCallError, Libcuda
from engines.cuda.probe import require_gpu
from engines.errors import EngineUnavailable, UserError

_T = TypeVar("_T")

NAMES = ("auto", "pycuda", "cuda-bindings")


def open_driver(name: str, spin: bool) -> CudaDriver:
    """Open the first GPU in this thread.

    Args:
        name: one of :data:`NAMES`; ``auto`` takes pycuda if it can be imported, else cuda-bindings.
        spin: see :class:`engines.base.EngineOptions`.

    Raises:
        EngineUnavailable: no GPU, no driver, or no package.
        UserError: an unknown name.
    """
    if name not in NAMES:
        raise UserError(f"a CUDA driver of {', '.join(NAMES)}", repr(name), "choose one of them")
    require_gpu()
    if name == "pycuda":
        return PycudaDriver(spin)
    if name == "cuda-bindings":
        return BindingsDriver(spin)
    try:
        import_pycuda()
    except EngineUnavailable as no_pycuda:
        try:
            import_bindings()
        except EngineUnavailable as no_bindings:
            raise EngineUnavailable(
                "the Python package pycuda or cuda-bindings",
                f"{no_pycuda.found}; {no_bindings.found}",
                f"{no_bindings.advice} (or pycuda: {no_pycuda.advice})",
            ) from no_bindings
        return BindingsDriver(spin)
    return PycudaDriver(spin)


def import_pycuda() -> ModuleType:
    """The module ``pycuda.driver``; importing it needs the driver's library.

    Raises:
        EngineUnavailable: it is not installed, or made for another CUDA.
    """
    try:
        return importlib.import_module("pycuda.driver")
    except (ImportError, RuntimeError) as error:  # the latter if it was made for another numpy
        raise EngineUnavailable(
            "the Python package pycuda",
            str(error),
            "install it: export PATH=/usr/local/cuda/bin:$PATH && pip install pycuda",
        ) from error


class PycudaDriver:
    """The first GPU, through pycuda; see :class:`engines.cuda.driver.CudaDriver`.

    Args:
        spin: wait for the GPU with a busy processor instead of asleep.

    Raises:
        EngineUnavailable: no GPU, no driver, or no pycuda.
    """

    name = "pycuda"

    def __init__(self, spin: bool = False) -> None:
        require_gpu()
        self._pycuda = import_pycuda()
        self._libcuda = Libcuda()
        self._buffers = ExitStack()
        with ExitStack() as cleanup:
            self._call(self._pycuda.init)
            gpu = self._call(self._pycuda.Device, 0)
            self._libcuda.wait_by_spinning(spin)
            context = self._call(gpu.retain_primary_context)
            cleanup.callback(self._release, context)
            self._call(context.push)
            cleanup.callback(self._call, context.pop)
            self._stream = self._call(self._pycuda.Stream, NON_BLOCKING)
            cleanup.callback(self._drop_stream)
            cleanup.callback(self._buffers.close)
            cleanup.callback(self._wait)
            self.stream = int(self._stream.handle)
            self.device = self._describe(gpu)
            self._owner = Owner(cleanup.pop_all())

    def free_memory(self) -> int:
        """Bytes free on the device now."""
        self._owner.require()
        return int(self._call(self._pycuda.mem_get_info)[0])

    def allocate(self, nbytes: int) -> int:
        """Device memory; returns its address."""
        self._owner.require()
        allocation = self._reserve("device", nbytes, self._pycuda.mem_alloc, nbytes)
        self._buffers.callback(self._call, allocation.free)
        return int(allocation)

    def page_locked(self, nbytes: int, *, mapped: bool) -> tuple[NDArray[np.uint8], int]:
        """Host memory, and the address at which the GPU sees it if ``mapped``, else 0."""
        self._owner.require()
        flags = self._pycuda.host_alloc_flags.DEVICEMAP if mapped else 0
        array = self._reserve("page-locked", nbytes, self._pycuda.pagelocked_empty, nbytes, np.uint8, "C", flags)
        self._buffers.callback(self._call, array.base.free)
        return array, int(self._call(array.base.get_device_pointer)) if mapped else 0

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous page-locked array to device memory, in the stream."""
        self._owner.require()
        self._call(self._pycuda.memcpy_htod_async, address, require_contiguous(array), self._stream)

    def to_host(self, array: NDArray[Any], address: int) -> None:
        """Copy device memory into a contiguous page-locked array, in the stream."""
        self._owner.require()
        self._call(self._pycuda.memcpy_dtoh_async, require_contiguous(array), address, self._stream)

    def synchronize(self) -> None:
        """Wait until the stream has done everything; other threads run meanwhile."""
        self._owner.require()
        self._wait()

    def close(self) -> None:
        """Free buffers, the stream and the context, in this order; returned arrays must not be used afterwards."""
        self._owner.close()

    def _describe(self, gpu: Any) -> Device:  # noqa: ANN401 - pycuda has no types
        attribute = self._pycuda.device_attribute
        return Device(
            name=self._call(gpu.name),
            capability=tuple(self._call(gpu.compute_capability)),
            multiprocessors=self._call(gpu.get_attribute, attribute.MULTIPROCESSOR_COUNT),
            driver=self._call(self._pycuda.get_driver_version),
            memory=self._call(gpu.total_memory),
            integrated=bool(self._call(gpu.get_attribute, attribute.INTEGRATED)),
        )

    def _reserve(self, kind: str, nbytes: int, function: Callable[..., _T], *arguments: object) -> _T:
        try:
            return function(*arguments)
        except self._pycuda.MemoryError as error:
            raise out_of_memory(kind, nbytes, self.free_memory()) from error
        except self._pycuda.Error as error:
            raise refused(error) from error

    def _call(self, function: Callable[..., _T], *arguments: object) -> _T:
        try:
            return function(*arguments)
        except self._pycuda.Error as error:
            raise refused(error) from error
        finally:
            # The error's traceback would keep the stream alive beyond its context.
            del function, arguments

    def _wait(self) -> None:
        self._call(self._stream.synchronize)

    def _drop_stream(self) -> None:
        # pycuda destroys a stream with its last reference.
        self._stream = None

    def _release(self, context: Any) -> None:  # noqa: ANN401 - pycuda has no types
        """Give the context back.

        pycuda 2026.1 pushes a primary context once more to release it, and leaves it pushed.  Another engine of this
        thread may have pushed the same context, so that handles do not show which one is left over: all are taken off
        the stack first, while this function holds the context.
        """
        try:
            others = self._pop_all()
            self._libcuda.handle("cuDevicePrimaryCtxRetain", 0)
            try:
                self._call(context.detach)
            finally:
                self._pop_all()
                for other in reversed(others):
                    self._libcuda.call("cuCtxPushCurrent_v2", other)
                self._libcuda.call("cuDevicePrimaryCtxRelease_v2", 0)
        except CudaCallError as error:
            raise refused(error) from error

    def _pop_all(self) -> list[int]:
        popped = []
        while self._libcuda.handle("cuCtxGetCurrent"):
            popped.append(self._libcuda.handle("cuCtxPopCurrent_v2"))
        return popped

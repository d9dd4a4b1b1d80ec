"""``pycuda.driver`` 2026.1 on the GPU of :mod:`fakes.cuda`: the part of it that engines may use, and nothing else.

Names, signatures and quirks were read in src/cpp/cuda.hpp and src/wrapper/wrap_cudadrv.cpp of its source.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from functools import wraps
from types import ModuleType

import numpy as np

from fakes.cuda import gpu
from fakes.cuda_errors import INVALID_CONTEXT, INVALID_HANDLE, NO_DEVICE, OUT_OF_MEMORY, CudaError


class Error(Exception): ...


class MemoryError(Error): ...  # noqa: A001 - pycuda calls it so


class LogicError(Error): ...


class LaunchError(Error): ...


class RuntimeError(Error): ...  # noqa: A001 - pycuda calls it so; it is not Python's


def _translated(function):
    """As translate_cuda_error of wrap_cudadrv.cpp."""

    @wraps(function)
    def run(*arguments, **options):
        try:
            return function(*arguments, **options)
        except CudaError as error:
            kinds = {OUT_OF_MEMORY: MemoryError, NO_DEVICE: RuntimeError, 719: LaunchError}
            translated = kinds.get(error.code, LogicError)(f"{function.__name__} failed: {error}")
        del arguments, options  # C++ leaves no frames behind that would keep a stream alive
        raise translated

    return run


class device_attribute(Enum):
    MULTIPROCESSOR_COUNT = 16
    INTEGRATED = 18


class host_alloc_flags:
    PORTABLE, DEVICEMAP, WRITECOMBINED = 1, 2, 4


@_translated
def init(flags: int = 0) -> None:
    gpu().init()


def get_driver_version() -> int:
    return 12060


class Device:
    @_translated
    def __init__(self, ordinal: int) -> None:
        gpu().require_init()
        assert ordinal == 0

    def name(self) -> str:
        return "Fake Orin"

    def compute_capability(self) -> tuple[int, int]:
        return 8, 7

    def total_memory(self) -> int:
        return gpu().memory

    def get_attribute(self, attribute: device_attribute) -> int:
        return {device_attribute.MULTIPROCESSOR_COUNT: 8, device_attribute.INTEGRATED: int(gpu().integrated)}[attribute]

    @_translated
    def retain_primary_context(self) -> Context:
        gpu().retain()
        return Context(threading.get_ident())


class _Stack(threading.local):
    """pycuda's own stack of contexts, beside CUDA's."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []


_stack = _Stack()


class Context:
    def __init__(self, thread: int) -> None:
        self._thread, self._valid, self._gpu = thread, True, gpu()

    @_translated
    def push(self) -> None:
        if _stack.contexts:
            gpu().pop()
        gpu().push()
        _stack.contexts.append(self)

    @staticmethod
    @_translated
    def pop() -> None:
        if not _stack.contexts:
            raise CudaError(INVALID_CONTEXT, "cannot pop non-current context")
        gpu().pop()
        _stack.contexts.pop()
        if _stack.contexts:
            gpu().push()

    @_translated
    def detach(self) -> None:
        if not self._valid:
            raise CudaError(INVALID_CONTEXT, "cannot detach from invalid context")
        self._valid = False
        if self in _stack.contexts:
            gpu().release()
            _stack.contexts.remove(self)
        elif self._thread == threading.get_ident():
            # The quirk: releasing a primary context does not pop it, though pycuda believes so.
            gpu().push()
            gpu().release()

    def __del__(self) -> None:
        if self._valid:
            self._gpu.fault("a context was left to the garbage collector")


def _current() -> Context:
    if not _stack.contexts:
        raise CudaError(INVALID_CONTEXT, "no currently active context?")
    return _stack.contexts[-1]


class _Owned:
    """A resource that is freed in the context that it was made in."""

    def __init__(self) -> None:
        self._context, self._gpu = _current(), gpu()

    def _free(self, what: str, work: Callable[[], None]) -> None:
        """As scoped_context_activation, but it is a fault where pycuda would silently leak, or switch contexts."""
        if not self._gpu.installed:
            return
        if not _stack.contexts or _stack.contexts[-1] is not self._context:
            self._gpu.fault(f"{what} freed while its context is not current in this thread: it leaks")
        else:
            work()


class Stream(_Owned):
    @_translated
    def __init__(self, flags: int = 0) -> None:
        super().__init__()
        self.handle = gpu().create_stream(flags)

    @_translated
    def synchronize(self) -> None:
        gpu().synchronize(self.handle)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            self._free("stream", lambda: self._gpu.destroy_stream(self.handle))


class _Allocation(_Owned):
    def __init__(self, nbytes: int, kind: str) -> None:
        super().__init__()
        self._kind = kind
        self._address: int | None = gpu().allocate(nbytes, kind)

    @_translated
    def free(self) -> None:
        if self._address is None:
            raise CudaError(INVALID_HANDLE)
        address, self._address = self._address, None
        self._free(self._kind, lambda: self._gpu.free(address, self._kind))

    def __del__(self) -> None:
        if getattr(self, "_address", None) is not None:
            self.free()


class DeviceAllocation(_Allocation):
    def __int__(self) -> int:
        return self._address

    __index__ = __int__


class PagelockedHostAllocation(_Allocation):
    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, mapped: bool) -> None:
        super().__init__(int(np.prod(shape)) * dtype.itemsize, "mapped" if mapped else "host")
        # So that numpy makes an array of it, with this object as its base.
        self.__array_interface__ = {"version": 3, "shape": shape, "typestr": dtype.str, "data": (self._address, False)}

    @_translated
    def get_device_pointer(self) -> int:
        return gpu().device_address(self._address)


@_translated
def mem_alloc(nbytes: int) -> DeviceAllocation:
    return DeviceAllocation(nbytes, "device")


@_translated
def pagelocked_empty(shape, dtype, order: str = "C", mem_flags: int = 0) -> np.ndarray:
    assert order == "C"
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return np.asarray(PagelockedHostAllocation(shape, np.dtype(dtype), bool(mem_flags & host_alloc_flags.DEVICEMAP)))


@_translated
def mem_get_info() -> tuple[int, int]:
    return gpu().free_bytes(), gpu().memory


@_translated
def memcpy_htod_async(dest: int, src: np.ndarray, stream: Stream | None = None) -> None:
    assert stream is not None, "a copy in the default stream"
    gpu().copy_to_device(dest, src.ctypes.data, src.nbytes, stream.handle)


@_translated
def memcpy_dtoh_async(dest: np.ndarray, src: int, stream: Stream | None = None) -> None:
    assert stream is not None, "a copy in the default stream"
    assert dest.flags.writeable
    gpu().copy_to_host(dest.ctypes.data, src, dest.nbytes, stream.handle)


ERRORS = (Error, MemoryError, LogicError, LaunchError, RuntimeError)
CLASSES = (device_attribute, host_alloc_flags, Device, Context, Stream, DeviceAllocation, PagelockedHostAllocation)
COPIES = (memcpy_htod_async, memcpy_dtoh_async)
NAMES = (*ERRORS, *CLASSES, *COPIES, init, get_driver_version, mem_alloc, pagelocked_empty, mem_get_info)
"""All that the fake module has."""


def modules() -> dict[str, ModuleType]:
    """``pycuda`` and ``pycuda.driver`` with no context current, to be put into ``sys.modules``."""
    _stack.contexts.clear()
    package, driver = ModuleType("pycuda"), ModuleType("pycuda.driver")
    for each in NAMES:
        setattr(driver, each.__name__, each)
    vars(package).update(driver=driver)
    return {"pycuda": package, "pycuda.driver": driver}

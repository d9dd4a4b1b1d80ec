"""``cuda.bindings.driver`` 13.5 on the GPU of :mod:`fakes.cuda`: the part of it that engines may use, and nothing else.

Names, parameters and results were compared with the real package by introspection; tests do it again where it is there.
"""

from __future__ import annotations

import re
from enum import IntEnum
from functools import wraps
from types import ModuleType
from typing import Any

from fakes.cuda import gpu
from fakes.cuda_errors import TEXTS, CudaError

CU_MEMHOSTALLOC_DEVICEMAP = 2

_enumeration: Any = IntEnum  # mypy wants the members of an enumeration as literals
CUresult = _enumeration(
    "CUresult", {"CUDA_SUCCESS": 0, "CUDA_ERROR_OUT_OF_MEMORY": 2} | {f"CUDA_ERROR_{n}": n for n in TEXTS if n != 2}
)


class CUdevice_attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16
    CU_DEVICE_ATTRIBUTE_INTEGRATED = 18
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class _Handle:
    def __init__(self, value: int) -> None:
        self._value = value

    def __int__(self) -> int:
        return self._value


class CUdevice(_Handle): ...


class CUcontext(_Handle): ...


class CUstream(_Handle): ...


class CUdeviceptr(_Handle): ...


def _answering(results: int = 1):
    """The package answers with a tuple: the code and, whatever the code, as many results."""

    def decorate(function):
        @wraps(function)
        def run(*arguments):
            try:
                value = function(*arguments)
            except CudaError as error:
                return (CUresult(error.code), *[None] * results)
            return (CUresult.CUDA_SUCCESS, *(value if results > 1 else [value] * results))

        return run

    return decorate


def cuGetErrorString(error):
    return CUresult.CUDA_SUCCESS, TEXTS[int(error)].encode()


@_answering(0)
def cuInit(Flags):
    gpu().init()


@_answering()
def cuDriverGetVersion():
    return 12060


@_answering()
def cuDeviceGet(ordinal):
    gpu().require_init()
    return CUdevice(ordinal)


@_answering()
def cuDeviceGetName(length, dev):
    return b"Fake Orin".ljust(length, b"\0")


@_answering()
def cuDeviceGetAttribute(attrib, dev):
    assert isinstance(dev, CUdevice)
    values = {"MULTIPROCESSOR_COUNT": 8, "INTEGRATED": int(gpu().integrated)}
    values |= {"COMPUTE_CAPABILITY_MAJOR": 8, "COMPUTE_CAPABILITY_MINOR": 7}
    return values[CUdevice_attribute(attrib).name.removeprefix("CU_DEVICE_ATTRIBUTE_")]


@_answering()
def cuDeviceTotalMem(dev):
    return gpu().memory


@_answering()
def cuDevicePrimaryCtxRetain(dev):
    gpu().retain()
    return CUcontext(1)


@_answering(0)
def cuDevicePrimaryCtxRelease(dev):
    gpu().release()


@_answering(0)
def cuCtxPushCurrent(ctx):
    assert isinstance(ctx, CUcontext)
    gpu().push()


@_answering()
def cuCtxPopCurrent():
    gpu().pop()
    return CUcontext(1)


@_answering()
def cuStreamCreate(Flags):
    return CUstream(gpu().create_stream(Flags))


@_answering(0)
def cuStreamDestroy(hStream):
    gpu().destroy_stream(int(hStream))


@_answering(0)
def cuStreamSynchronize(hStream):
    gpu().synchronize(int(hStream))


@_answering(2)
def cuMemGetInfo():
    return gpu().free_bytes(), gpu().memory


@_answering()
def cuMemAlloc(bytesize):
    return CUdeviceptr(gpu().allocate(bytesize, "device"))


@_answering(0)
def cuMemFree(dptr):
    gpu().free(int(dptr), "device")


@_answering()
def cuMemHostAlloc(bytesize, Flags):
    return gpu().allocate(bytesize, "mapped" if Flags & CU_MEMHOSTALLOC_DEVICEMAP else "host")


@_answering(0)
def cuMemFreeHost(p):
    gpu().free(p, "host", "mapped")


@_answering()
def cuMemHostGetDevicePointer(p, Flags):
    return CUdeviceptr(gpu().device_address(p))


@_answering(0)
def cuMemcpyHtoDAsync(dstDevice, srcHost, ByteCount, hStream):
    gpu().copy_to_device(int(dstDevice), srcHost, ByteCount, int(hStream))


@_answering(0)
def cuMemcpyDtoHAsync(dstHost, srcDevice, ByteCount, hStream):
    gpu().copy_to_host(dstHost, int(srcDevice), ByteCount, int(hStream))


FUNCTIONS = tuple(function for name, function in list(globals().items()) if re.match("cu[A-Z]", name))
CLASSES = (CUresult, CUdevice_attribute, CUdevice, CUcontext, CUstream, CUdeviceptr)


def modules() -> dict[str, ModuleType]:
    """``cuda``, ``cuda.bindings`` and ``cuda.bindings.driver``, to be put into ``sys.modules``."""
    package, bindings, driver = (ModuleType(name) for name in ("cuda", "cuda.bindings", "cuda.bindings.driver"))
    for each in FUNCTIONS + CLASSES:
        setattr(driver, each.__name__, each)
    vars(driver).update(CU_MEMHOSTALLOC_DEVICEMAP=CU_MEMHOSTALLOC_DEVICEMAP)
    vars(package).update(bindings=bindings)
    vars(bindings).update(driver=driver)
    return {module.__name__: module for module in (package, bindings, driver)}

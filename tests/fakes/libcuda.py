"""``libcuda.so.1`` on the GPU of :mod:`fakes.cuda`, as functions that can be called through ctypes only.

They are real C functions without declared parameters, as those of a library are: a caller that forgets ``argtypes``
gets its handles cut to 32 bits here too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_int, c_uint, c_ulonglong, c_void_p
from typing import Any

from fakes.cuda import gpu
from fakes.cuda_contexts import CONTEXT
from fakes.cuda_errors import INVALID_VALUE, TEXTS, CudaError

_STRINGS = {code: ctypes.create_string_buffer(text.encode()) for code, text in TEXTS.items()}


_hidden: Any = ctypes
"""Without types: those of ctypes leave out the names that begin with an underscore."""


class _CFunction(_hidden._CFuncPtr):
    """As an attribute of a ``ctypes.CDLL``: nothing is known of its parameters."""

    _flags_ = _hidden._FUNCFLAG_CDECL
    _restype_ = c_int


def _put(pointer: int, kind: type[c_int | c_void_p], value: int) -> None:
    kind.from_address(pointer).value = value


def _init(flags: int) -> None:
    gpu().init()


def _version(version: int) -> None:
    _put(version, c_int, 12060)


def _count(count: int) -> None:
    gpu().require_init()
    _put(count, c_int, gpu().devices)


def _error_string(code: int, text: int) -> None:
    if code not in _STRINGS:
        _put(text, c_void_p, 0)
        raise CudaError(INVALID_VALUE)
    _put(text, c_void_p, ctypes.addressof(_STRINGS[code]))


def _set_flags(device: int, flags: int) -> None:
    assert device == 0
    gpu().set_flags(flags)


def _current(context: int) -> None:
    _put(context, c_void_p, gpu().stack[-1] if gpu().stack else 0)


def _pop(context: int) -> None:
    _current(context)
    gpu().pop()


def _retain(context: int, device: int) -> None:
    assert device == 0
    gpu().retain()
    _put(context, c_void_p, CONTEXT)


def _push(context: int) -> None:
    assert context == CONTEXT
    gpu().push()


def _begin(stream: int, mode: int) -> None:
    if mode != 1:
        gpu().fault(f"capture in mode {mode}: other threads would spoil it, or this one go unchecked")
    gpu().begin_capture(stream)


def _end(stream: int, graph: int) -> None:
    _put(graph, c_void_p, 0)
    _put(graph, c_void_p, gpu().end_capture(stream))


def _instantiate(executable: int, graph: int, flags: int) -> None:
    assert flags == 0
    _put(executable, c_void_p, gpu().instantiate(graph))


FUNCTIONS: dict[str, tuple[Callable[..., None], tuple[type, ...]]] = {
    "cuInit": (_init, (c_uint,)),
    "cuDriverGetVersion": (_version, (c_void_p,)),
    "cuDeviceGetCount": (_count, (c_void_p,)),
    "cuGetErrorString": (_error_string, (c_int, c_void_p)),
    "cuDevicePrimaryCtxSetFlags_v2": (_set_flags, (c_int, c_uint)),
    "cuDevicePrimaryCtxRetain": (_retain, (c_void_p, c_int)),
    "cuDevicePrimaryCtxRelease_v2": (lambda device: gpu().release(), (c_int,)),
    "cuCtxGetCurrent": (_current, (c_void_p,)),
    "cuCtxPopCurrent_v2": (_pop, (c_void_p,)),
    "cuCtxPushCurrent_v2": (_push, (c_void_p,)),
    "cuStreamBeginCapture_v2": (_begin, (c_void_p, c_int)),
    "cuStreamEndCapture": (_end, (c_void_p, c_void_p)),
    "cuGraphInstantiateWithFlags": (_instantiate, (c_void_p, c_void_p, c_ulonglong)),
    "cuGraphLaunch": (lambda executable, stream: gpu().launch(executable, stream), (c_void_p, c_void_p)),
    "cuGraphExecDestroy": (lambda executable: gpu().destroy_executable(executable), (c_void_p,)),
    "cuGraphDestroy": (lambda graph: gpu().destroy_graph(graph), (c_void_p,)),
}
"""Each function with its C parameters."""


class Library:
    """As ``ctypes.CDLL("libcuda.so.1")``.

    Args:
        missing: names of functions that this driver is too old to have.
    """

    def __init__(self, missing: tuple[str, ...] = ()) -> None:
        self._kept = []
        for name, (function, parameters) in FUNCTIONS.items():
            if name not in missing:
                self._kept.append(ctypes.CFUNCTYPE(c_int, *parameters)(_answering(name, function)))
                setattr(self, name, _CFunction(ctypes.cast(self._kept[-1], c_void_p).value))


def _answering(name: str, function: Callable[..., None]) -> Callable[..., int]:
    def run(*arguments: int | None) -> int:
        try:
            function(*(argument or 0 for argument in arguments))
        except CudaError as error:
            return error.code
        except BaseException as error:  # noqa: BLE001 - ctypes would print it and answer success
            gpu().fault(f"{name}{arguments}: {error!r}")
            return INVALID_VALUE
        return 0

    return run


def no_library() -> Library:
    """As ``ctypes.CDLL`` on a machine without a driver."""
    raise OSError("libcuda.so.1: cannot open shared object file: No such file or directory")

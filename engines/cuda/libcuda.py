"""NVIDIA's driver library by ctypes: the few calls that pycuda lacks, and those of the probe for a GPU."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from typing import Any, cast

_log = logging.getLogger(__name__)

_Handle, _Out = ctypes.c_void_p, ctypes.c_void_p
_ARGUMENTS: dict[str, list[type[Any]]] = {
    "cuInit": [ctypes.c_uint],
    "cuDriverGetVersion": [_Out],
    "cuDeviceGetCount": [_Out],
    "cuGetErrorString": [ctypes.c_int, _Out],
    "cuDevicePrimaryCtxSetFlags_v2": [ctypes.c_int, ctypes.c_uint],
    "cuDevicePrimaryCtxRetain": [_Out, ctypes.c_int],
    "cuDevicePrimaryCtxRelease_v2": [ctypes.c_int],
    "cuCtxGetCurrent": [_Out],
    "cuCtxPopCurrent_v2": [_Out],
    "cuCtxPushCurrent_v2": [_Handle],
    "cuStreamBeginCapture_v2": [_Handle, ctypes.c_int],
    "cuStreamEndCapture": [_Handle, _Out],
    "cuGraphInstantiateWithFlags": [_Out, _Handle, ctypes.c_ulonglong],
    "cuGraphLaunch": [_Handle, _Handle],
    "cuGraphExecDestroy": [_Handle],
    "cuGraphDestroy": [_Handle],
}
"""C parameters of each function, from cuda.h of CUDA 13.0; without them ctypes would cut handles to 32 bits."""

_SCHED_SPIN, _SCHED_BLOCKING_SYNC = 1, 4
"""``CU_CTX_SCHED_SPIN`` and ``CU_CTX_SCHED_BLOCKING_SYNC`` of cuda.h."""


class CudaCallError(RuntimeError):
    """An error code of a call.

    Attributes:
        code: the ``CUresult``; ``None`` if this driver does not have the function.
    """

    def __init__(self, function: str, code: int | None, text: str) -> None:
        super().__init__(f"{function}: {text}" if code is None else f"{function}: error {code}, {text}")
        self.code = code


def load_libcuda() -> ctypes.CDLL:
    """Load the library by the name that the driver installs.

    Raises:
        OSError: there is none.
    """
    return ctypes.CDLL("libcuda.so.1")


class Libcuda:
    """The library; it needs no context, and loading it initialises nothing.

    Raises:
        OSError: this machine has no NVIDIA driver.
    """

    def __init__(self) -> None:
        self._library = load_libcuda()

    def call(self, name: str, *arguments: object) -> None:
        """Call a function of :data:`_ARGUMENTS`.

        Raises:
            CudaCallError: it returned an error, or this driver is too old to have it.
        """
        code = self._function(name)(*arguments)
        if code:
            raise CudaCallError(name, code, self._explain(code))

    def _function(self, name: str) -> Callable[..., int]:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise CudaCallError(name, None, "this driver does not have it") from error
        function.argtypes, function.restype = _ARGUMENTS[name], ctypes.c_int
        return cast("Callable[..., int]", function)

    def _explain(self, code: int) -> str:
        text = ctypes.c_char_p()
        unknown = self._function("cuGetErrorString")(code, ctypes.byref(text))
        return "unknown to this driver" if unknown or text.value is None else text.value.decode(errors="replace")

    def integer(self, name: str) -> int:
        """Call a function of one ``int*`` and return its result."""
        value = ctypes.c_int()
        self.call(name, ctypes.byref(value))
        return value.value

    def handle(self, name: str, *arguments: object) -> int:
        """Call a function and return the handle in its first parameter, 0 for null."""
        value = ctypes.c_void_p()
        self.call(name, ctypes.byref(value), *arguments)
        return value.value or 0

    def wait_by_spinning(self, spin: bool) -> None:
        """Set how threads wait in the primary context of device 0: with a busy processor, or asleep.

        Called before the context is retained.  Drivers may refuse this while another library uses the context; then
        that library's choice stays.
        """
        try:
            self.call("cuDevicePrimaryCtxSetFlags_v2", 0, _SCHED_SPIN if spin else _SCHED_BLOCKING_SYNC)
        except CudaCallError as error:
            _log.info("the way to wait for the GPU stays as it is: %s", error)

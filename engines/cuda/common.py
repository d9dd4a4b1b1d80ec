"""Code of both CUDA drivers: the owning thread, cleanup in reverse order, and errors."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import Any

from numpy.typing import NDArray

from engines.errors import EngineUnavailable

_log = logging.getLogger(__name__)

NON_BLOCKING = 1
"""``CU_STREAM_NON_BLOCKING``: a stream that does not wait for other libraries' work in the default stream."""


class Owner:
    """The thread that opened a driver, and the cleanup of its resources.

    Args:
        cleanup: callbacks, run in reverse order.
    """

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self._thread = threading.get_ident()
        self._closed = False

    def require(self) -> None:
        """Refuse calls from other threads, in which the context is not current.

        Raises:
            RuntimeError: called by another thread, or after :meth:`close`.
        """
        self._require_thread()
        if self._closed:
            raise RuntimeError("this CUDA driver is closed")

    def close(self) -> None:
        """Run the whole cleanup; errors of the GPU are logged.

        Raises:
            RuntimeError: called by another thread.
        """
        self._require_thread()
        self._closed = True
        try:
            self._cleanup.close()
        except EngineUnavailable as error:
            _log.warning("the GPU was not cleaned up completely: %s", str(error))

    def _require_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a CUDA driver belongs to the thread that made it; make, use and close it in one thread")


def require_contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array; CUDA copies its memory as one block.

    Raises:
        ValueError: it is not C-contiguous.
    """
    if not array.flags.c_contiguous:
        raise ValueError(f"only contiguous arrays can be copied, not one with strides {array.strides}")
    return array


def refused(error: object) -> EngineUnavailable:
    """Return the error for a call that failed in the GPU or its driver."""
    return EngineUnavailable("a GPU that works", str(error), "run edge-occ doctor, or run with --engine cpu")


def out_of_memory(kind: str, nbytes: int, free: int) -> EngineUnavailable:
    """Return the error for an allocation of ``kind`` memory that failed; sizes in bytes."""
    return EngineUnavailable(
        f"{_size(nbytes)} of {kind} memory",
        f"{_size(free)} free on the GPU",
        "close other programs that use it, or run with --engine cpu",
    )


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB" if nbytes >= 2**20 else f"{nbytes} bytes"

"""What both CUDA drivers share: one thread owns the state and gives it back in the opposite order; errors in words."""

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
    """The thread that made this, and what it has to give back.

    Args:
        cleanup: what to undo, the latest first.
    """

    def __init__(self, cleanup: ExitStack) -> None:
        self._cleanup = cleanup
        self._thread = threading.get_ident()
        self._closed = False

    def require(self) -> None:
        """A context is current in one thread only, so a call from another would go astray.

        Raises:
            RuntimeError: called by another thread, or after :meth:`close`.
        """
        self._require_thread()
        if self._closed:
            raise RuntimeError("this CUDA driver is closed")

    def close(self) -> None:
        """Undo everything; what the GPU refuses is logged, and the rest is undone all the same.

        Raises:
            RuntimeError: called by another thread.
        """
        self._require_thread()
        self._closed = True
        try:
            self._cleanup.close()
        except EngineUnavailable as error:
            _log.warning("the GPU was not left in good order: %s", str(error))

    def _require_thread(self) -> None:
        if threading.get_ident() != self._thread:
            raise RuntimeError("a CUDA driver belongs to the thread that made it; make, use and close it in one thread")


def require_contiguous(array: NDArray[Any]) -> NDArray[Any]:
    """The array itself; CUDA copies bytes as they lie.

    Raises:
        ValueError: its bytes do not lie in the order of its elements.
    """
    if not array.flags.c_contiguous:
        raise ValueError(f"only contiguous arrays can be copied, not one with strides {array.strides}")
    return array


def refused(error: object) -> EngineUnavailable:
    """A call that the GPU or its driver answered with an error."""
    return EngineUnavailable(
        "a GPU that does what it is told", str(error), "run edge-occ doctor, or run with --engine cpu"
    )


def out_of_memory(kind: str, nbytes: int, free: int) -> EngineUnavailable:
    """``kind`` memory of this size is not to be had, with so much free on the device."""
    return EngineUnavailable(
        f"{_size(nbytes)} of {kind} memory",
        f"{_size(free)} free on the GPU",
        "close other programs that use it, or run with --engine cpu",
    )


def _size(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB" if nbytes >= 2**20 else f"{nbytes} bytes"

"""CUDA graphs: the work of one frame, recorded once and then launched as a whole instead of kernel by kernel.

By ctypes, as pycuda has no graphs; all it needs of a driver is the handle of its stream.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from contextlib import suppress

from engines.cuda.common import refused
from engines.cuda.libcuda import CudaCallError, Libcuda
from engines.errors import EngineUnavailable

_log = logging.getLogger(__name__)

_THREAD_LOCAL = 1
"""``CU_STREAM_CAPTURE_MODE_THREAD_LOCAL``: calls that cannot be recorded fail in this thread and are allowed in others,
for instance in a camera's decoder.  With GLOBAL those would break the capture, with RELAXED nothing would fail here."""


class CudaGraph:
    """Recorded work; made by :func:`capture`, to be closed before its stream and the buffers that it uses are freed."""

    def __init__(self, libcuda: Libcuda, executable: int, stream: int) -> None:
        self._libcuda, self._executable, self._stream = libcuda, executable, stream

    def launch(self) -> None:
        """Put the work into the stream that it was recorded in.

        Raises:
            EngineUnavailable: the GPU refuses.
            RuntimeError: the graph is closed.
        """
        if not self._executable:
            raise RuntimeError("this CUDA graph is closed")
        try:
            self._libcuda.call("cuGraphLaunch", self._executable, self._stream)
        except CudaCallError as error:
            raise refused(error) from error

    def close(self) -> None:
        """Free the graph; without effect the second time."""
        executable, self._executable = self._executable, 0
        if executable:
            _destroy(self._libcuda, "cuGraphExecDestroy", executable)


def capture(stream: int, work: Callable[[], None]) -> CudaGraph | None:
    """Record the work that ``work`` puts into the stream; it runs when the graph is launched.

    Run the work once before, outside of a capture: TensorRT sets things up in its first run which cannot be recorded.

    Args:
        stream: handle of a stream that is not the default one.
        work: puts work into the stream, always with the same addresses; raises :class:`EngineUnavailable` or
            RuntimeError if it cannot.

    Returns:
        The graph, or ``None`` with the reason logged if the work cannot be recorded; the stream is usable either way.
    """
    try:
        libcuda = Libcuda()
        graph = _record(libcuda, stream, work)
        try:
            executable = libcuda.handle("cuGraphInstantiateWithFlags", graph, 0)
        finally:
            _destroy(libcuda, "cuGraphDestroy", graph)
    except (EngineUnavailable, RuntimeError, OSError) as error:
        _log.warning("frames are inferred without a CUDA graph, somewhat slower: %s", str(error))
        return None
    return CudaGraph(libcuda, executable, stream)


def _record(libcuda: Libcuda, stream: int, work: Callable[[], None]) -> int:
    libcuda.call("cuStreamBeginCapture_v2", stream, _THREAD_LOCAL)
    try:
        work()
    except BaseException:
        with suppress(CudaCallError):
            _destroy(libcuda, "cuGraphDestroy", _end(libcuda, stream))
        raise
    return _end(libcuda, stream)


def _end(libcuda: Libcuda, stream: int) -> int:
    """End the capture, also a broken one, and return the graph."""
    graph = ctypes.c_void_p()
    libcuda.call("cuStreamEndCapture", stream, ctypes.byref(graph))
    return graph.value or 0


def _destroy(libcuda: Libcuda, function: str, handle: int) -> None:
    try:
        libcuda.call(function, handle)
    except CudaCallError as error:
        _log.warning("a CUDA graph was not freed: %s", str(error))

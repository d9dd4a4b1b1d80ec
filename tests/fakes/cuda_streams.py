"""Streams and graphs of a made-up GPU: queues of work, done at once or when somebody waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fakes.cuda_contexts import Contexts
from fakes.cuda_errors import (
    CAPTURE_INVALIDATED,
    CAPTURE_UNSUPPORTED,
    INVALID_HANDLE,
    INVALID_VALUE,
    NOT_SUPPORTED,
    CudaError,
)

Work = Callable[[], None]


@dataclass
class Stream:
    """A queue of work; while it is captured, work goes to ``captured`` instead."""

    handle: int
    queue: list[Work] = field(default_factory=list)
    captured: list[Work] | None = None
    invalidated: bool = False


@dataclass
class Streams(Contexts):
    """Streams and graphs in the primary context.

    Attributes:
        lazy: work stays in its stream until somebody waits for it, as on a real GPU; else it is done at once.
        can_capture: whether work in a stream may be captured.
        can_instantiate: whether a captured graph can be made executable.
        broken: code that every wait for a stream answers with, if not 0; a GPU that has crashed.
    """

    lazy: bool = False
    can_capture: bool = True
    can_instantiate: bool = True
    broken: int = 0
    streams: dict[int, Stream] = field(default_factory=dict)
    graphs: dict[int, list[Work]] = field(default_factory=dict)
    executables: dict[int, list[Work]] = field(default_factory=dict)
    _handle: int = 0x7A00_0000_1000

    def handle(self) -> int:
        """A new handle; 32 bits do not hold it."""
        self._handle += 0x1_0000_0010
        return self._handle

    def create_stream(self, flags: int) -> int:
        self.require_context()
        if flags not in {0, 1}:
            raise CudaError(INVALID_VALUE, "flags of a stream")
        stream = Stream(self.handle())
        self.streams[stream.handle] = stream
        self.log.append("create stream")
        return stream.handle

    def stream(self, handle: int) -> Stream:
        self.require_context()
        if handle not in self.streams:
            self.fault(f"use of {handle:#x}, which is no live stream")
            raise CudaError(INVALID_HANDLE)
        return self.streams[handle]

    def destroy_stream(self, handle: int) -> None:
        stream = self.stream(handle)
        if stream.captured is not None or stream.queue:
            self.fault("destruction of a stream that is being captured or has work in flight")
        del self.streams[handle]
        self.log.append("destroy stream")

    def submit(self, handle: int, work: Work) -> None:
        """Put work into a stream: done now, when somebody waits if :attr:`lazy`, or with every launch of its graph."""
        stream = self.stream(handle)
        if stream.captured is not None:
            if not self.can_capture:
                stream.invalidated = True
                raise CudaError(CAPTURE_UNSUPPORTED)
            if stream.invalidated:
                raise CudaError(CAPTURE_INVALIDATED)
            stream.captured.append(work)
        elif self.lazy:
            stream.queue.append(work)
        else:
            work()

    def synchronize(self, handle: int) -> None:
        stream = self.stream(handle)
        if stream.captured is not None:
            stream.invalidated = True
            raise CudaError(CAPTURE_UNSUPPORTED, "wait for a stream that is being captured")
        self.log.append("synchronize")
        queue, stream.queue = stream.queue, []
        if self.broken:
            raise CudaError(self.broken)
        for work in queue:
            work()

    def begin_capture(self, handle: int) -> None:
        stream = self.stream(handle)
        if stream.captured is not None:
            raise CudaError(INVALID_VALUE, "the stream is being captured already")
        stream.captured, stream.invalidated = [], False
        self.log.append("begin capture")

    def end_capture(self, handle: int) -> int:
        stream = self.stream(handle)
        if stream.captured is None:
            raise CudaError(INVALID_VALUE, "the stream is not being captured")
        work, stream.captured = stream.captured, None
        self.log.append("end capture")
        if stream.invalidated:
            raise CudaError(CAPTURE_INVALIDATED)
        graph = self.handle()
        self.graphs[graph] = work
        return graph

    def instantiate(self, graph: int) -> int:
        work = _of(self.graphs, graph)
        if not self.can_instantiate:
            raise CudaError(NOT_SUPPORTED)
        executable = self.handle()
        self.executables[executable] = work
        self.log.append("instantiate")
        return executable

    def launch(self, executable: int, stream: int) -> None:
        work = _of(self.executables, executable)
        self.log.append("launch")
        for each in work:
            self.submit(stream, each)

    def destroy_graph(self, graph: int) -> None:
        _of(self.graphs, graph)
        del self.graphs[graph]
        self.log.append("destroy graph")

    def destroy_executable(self, executable: int) -> None:
        _of(self.executables, executable)
        del self.executables[executable]
        self.log.append("destroy executable")

    def spoil_captures(self, what: str) -> None:
        for stream in self.streams.values():
            if stream.captured is not None:
                stream.invalidated = True
                raise CudaError(CAPTURE_UNSUPPORTED, what)

    def live(self) -> list[str]:
        """See :meth:`fakes.cuda_contexts.Contexts.live`."""
        handles = ["stream"] * len(self.streams) + ["graph"] * len(self.graphs)
        return [*super().live(), *handles, *["graph executable"] * len(self.executables)]


def _of(handles: dict[int, list[Work]], handle: int) -> list[Work]:
    if handle not in handles:
        raise CudaError(INVALID_VALUE, f"{handle:#x} is no live graph")
    return handles[handle]

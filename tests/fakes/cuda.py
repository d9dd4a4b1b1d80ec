"""A GPU made of host memory: contexts, allocations, streams and graphs, with the rules of CUDA enforced.

"Device memory" is ordinary memory of this process, so anything may read and write it by its address with ctypes.  What
real CUDA would answer with an error code is a :class:`CudaError` here; what it would let pass, and be wrong later, is
an entry in :attr:`Gpu.faults`, which fails the test in :meth:`Gpu.check`.  The fakes of pycuda, of cuda-bindings and
of libcuda are three faces of this one GPU; :func:`fakes.install.installed` puts them in place.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

Work = Callable[[], None]

INVALID_VALUE, OUT_OF_MEMORY, NOT_INITIALIZED, STUB_LIBRARY, NO_DEVICE = 1, 2, 3, 34, 100
INVALID_CONTEXT, INVALID_HANDLE, ILLEGAL_ADDRESS, CONTEXT_ACTIVE, NOT_SUPPORTED = 201, 400, 700, 708, 801
CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED = 900, 901
TEXTS = {
    INVALID_VALUE: "invalid argument",
    OUT_OF_MEMORY: "out of memory",
    NOT_INITIALIZED: "initialization error",
    STUB_LIBRARY: "CUDA driver is a stub library",
    NO_DEVICE: "no CUDA-capable device is detected",
    INVALID_CONTEXT: "invalid device context",
    INVALID_HANDLE: "invalid resource handle",
    ILLEGAL_ADDRESS: "an illegal memory access was encountered",
    CONTEXT_ACTIVE: "primary context active",
    NOT_SUPPORTED: "operation not supported",
    CAPTURE_UNSUPPORTED: "operation not permitted when stream is capturing",
    CAPTURE_INVALIDATED: "operation failed due to a previous error during capture",
}
"""What the driver's own cuGetErrorString says."""

FRESH, FREED, GUARD = 0xCD, 0xDD, 0xFD
"""What memory holds when it is new, when it was freed, and around every allocation."""

_EDGE = 64
CONTEXT = 0x5500_0000_1000
"""Handle of the primary context."""


class CudaError(Exception):
    """What CUDA would answer with a code other than 0."""

    def __init__(self, code: int, what: str = "") -> None:
        super().__init__(f"{TEXTS.get(code, code)} {what}".strip())
        self.code = code


@dataclass
class Block:
    """An allocation; ``kind`` is ``device``, ``host`` or ``mapped``.  Memory is never given back, only poisoned."""

    address: int
    nbytes: int
    kind: str
    memory: ctypes.Array[ctypes.c_char]
    freed: bool = False

    @property
    def bytes(self) -> bytes:
        return ctypes.string_at(self.address, self.nbytes)

    @property
    def edges(self) -> bytes:
        return ctypes.string_at(self.address - _EDGE, _EDGE) + ctypes.string_at(self.address + self.nbytes, _EDGE)

    def fill(self, value: int) -> None:
        ctypes.memset(self.address, value, self.nbytes)


@dataclass
class Stream:
    """A queue of work; while it is captured, work goes to ``captured`` instead."""

    handle: int
    queue: list[Work] = field(default_factory=list)
    captured: list[Work] | None = None
    invalidated: bool = False


@dataclass
class Gpu:
    """The one device, and everything that was made on it.

    Attributes:
        lazy: work stays in its stream until somebody waits for it, as on a real GPU; else it is done at once.
        memory: bytes in all.
        devices: how many GPUs the driver finds; 0 makes ``cuInit`` fail with 100.
        init_error: code that ``cuInit`` answers with, if not 0.
        integrated: whether the GPU says that it shares the host's memory.
        can_capture: whether work in a stream may be captured.
        can_instantiate: whether a captured graph can be made executable.
        context_active: whether another library holds the primary context already.
        broken: code that every wait for a stream answers with, if not 0; a GPU that has crashed.
        log: what was done, in order: ``retain``, ``push``, ``alloc device``, ``free device``, ``launch`` and so on.
        faults: misuse that real CUDA would not have noticed, or not at once.
        flags: how the primary context waits.
    """

    lazy: bool = False
    memory: int = 8 << 30
    devices: int = 1
    init_error: int = 0
    integrated: bool = False
    can_capture: bool = True
    can_instantiate: bool = True
    context_active: bool = False
    broken: int = 0
    log: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    flags: int = 0
    blocks: dict[int, Block] = field(default_factory=dict)
    streams: dict[int, Stream] = field(default_factory=dict)
    graphs: dict[int, list[Work]] = field(default_factory=dict)
    executables: dict[int, list[Work]] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    installed: bool = True
    initialised: bool = False
    retained: int = 0
    stacks: dict[int, list[int]] = field(default_factory=dict)
    _handle: int = 0x7A00_0000_1000

    # Contexts

    def init(self) -> None:
        if self.init_error or not self.devices:
            raise CudaError(self.init_error or NO_DEVICE)
        self.initialised = True

    def require_init(self) -> None:
        if not self.initialised:
            raise CudaError(NOT_INITIALIZED)

    @property
    def stack(self) -> list[int]:
        """Contexts pushed by this thread."""
        return self.stacks.setdefault(threading.get_ident(), [])

    def set_flags(self, flags: int) -> None:
        self.require_init()
        if self.context_active or self.retained:
            raise CudaError(CONTEXT_ACTIVE)
        self.flags = flags

    def retain(self) -> None:
        self.require_init()
        self.log.append("retain")
        self.retained += 1

    def push(self) -> None:
        if not self.retained:
            raise CudaError(INVALID_CONTEXT, "push of a context that nobody retains")
        self.log.append("push")
        self.stack.append(CONTEXT)

    def pop(self) -> None:
        if not self.stack:
            raise CudaError(INVALID_CONTEXT, "pop of an empty stack")
        if self.retained == 1 and self.live():
            self.fault(f"context popped while these are live: {self.live()}")
        self.log.append("pop")
        self.stack.pop()

    def release(self) -> None:
        """As the real one, it does not pop the context from any stack."""
        if not self.retained:
            raise CudaError(INVALID_CONTEXT, "release without retain")
        if self.retained == 1 and self.live():
            self.fault(f"context released while these are live: {self.live()}")
        self.log.append("release")
        self.retained -= 1

    def require_context(self) -> None:
        if not self.stack or not self.retained:
            raise CudaError(INVALID_CONTEXT, "no context is current in this thread")

    # Memory

    def free_bytes(self) -> int:
        self.require_context()
        return self.memory - sum(block.nbytes for block in self.blocks.values() if not block.freed)

    def allocate(self, nbytes: int, kind: str) -> int:
        self.require_context()
        self._spoil_captures(f"allocation of {kind} memory")
        if nbytes <= 0:
            raise CudaError(INVALID_VALUE, "allocation of no bytes")
        if nbytes > self.free_bytes():
            raise CudaError(OUT_OF_MEMORY)
        memory = ctypes.create_string_buffer(nbytes + 2 * _EDGE)
        ctypes.memset(memory, GUARD, nbytes + 2 * _EDGE)
        block = Block(ctypes.addressof(memory) + _EDGE, nbytes, kind, memory)
        block.fill(FRESH)
        self.blocks[block.address] = block
        self.log.append(f"alloc {kind}")
        return block.address

    def free(self, address: int, *kinds: str) -> None:
        block = self.blocks.get(address)
        if block is None or block.freed or block.kind not in kinds:
            self.fault(f"free of {address:#x}, which is no live {' or '.join(kinds)} allocation")
            raise CudaError(INVALID_VALUE)
        if not self.stack:
            self.fault(f"free of {block.kind} memory without a context: it would leak")
        self.require_context()
        self._spoil_captures(f"free of {block.kind} memory")
        if any(stream.queue for stream in self.streams.values()):
            self.fault(f"free of {block.kind} memory while work is in flight")
        self._check_edges(block)
        block.fill(FREED)
        block.freed = True
        self.log.append(f"free {block.kind}")

    def require(self, address: int, nbytes: int, *kinds: str) -> None:
        """Fault unless these bytes lie in one live allocation of these kinds; by default where the GPU sees them."""
        for block in self.blocks.values():
            if block.address <= address and address + nbytes <= block.address + block.nbytes:
                if block.kind in (kinds or ("device", "mapped")) and not block.freed:
                    return
                state = f"{block.kind} memory{', freed' if block.freed else ''}"
                self.fault(f"{nbytes} bytes at {address:#x} are {state}")
                raise CudaError(ILLEGAL_ADDRESS, state)
        self.fault(f"{nbytes} bytes at {address:#x} lie in no allocation")
        raise CudaError(ILLEGAL_ADDRESS)

    def device_address(self, host: int) -> int:
        """Where the GPU sees mapped page-locked memory: as with unified addresses, at the same place."""
        self.require_context()
        self.require(host, 1, "mapped")
        return host

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: int) -> None:
        self._copy(device, host, (device, host), nbytes, stream)
        self.log.append("to device")

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: int) -> None:
        self._copy(host, device, (device, host), nbytes, stream)
        self.log.append("to host")

    def _copy(self, to: int, source: int, sides: tuple[int, int], nbytes: int, stream: int) -> None:
        def check() -> None:
            self.require(sides[0], nbytes)
            self.require(sides[1], nbytes, "host", "mapped")  # else the copy would not be asynchronous

        def work() -> None:
            check()
            ctypes.memmove(to, source, nbytes)

        check()
        self.submit(stream, work)

    # Streams and graphs

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

    def _spoil_captures(self, what: str) -> None:
        for stream in self.streams.values():
            if stream.captured is not None:
                stream.invalidated = True
                raise CudaError(CAPTURE_UNSUPPORTED, what)

    # For tests, and for fakes of what works on top of CUDA

    def hold(self, what: str) -> None:
        """Something lives on this GPU, say ``engine``, that must be gone before the context is popped."""
        self.others[what] += 1
        self.log.append(f"hold {what}")

    def drop(self, what: str) -> None:
        """The end of what :meth:`hold` began."""
        if not self.others[what]:
            self.fault(f"{what} dropped that was not held")
        self.others[what] -= 1
        self.log.append(f"drop {what}")

    def live(self) -> list[str]:
        """All that was made and not yet freed."""
        blocks = [f"{block.nbytes} bytes {block.kind}" for block in self.blocks.values() if not block.freed]
        handles = ["stream"] * len(self.streams) + ["graph"] * len(self.graphs)
        return blocks + handles + ["graph executable"] * len(self.executables) + list(self.others.elements())

    def fault(self, what: str) -> None:
        """Note misuse; :meth:`check` fails then, even if the code under test swallows the error."""
        self.faults.append(what)

    def check(self) -> None:
        """Fail unless everything was given back in order, and nobody wrote where they must not."""
        for block in self.blocks.values():
            self._check_edges(block)
            if block.freed and block.bytes.strip(bytes([FREED])):
                self.fault(f"{block.kind} memory was written after it was freed")
        assert not self.faults, self.faults
        assert not self.live(), f"not freed: {self.live()}"
        assert not self.retained, f"context retained {self.retained} times"
        assert not any(self.stacks.values()), f"contexts left pushed: {self.stacks}"

    def _check_edges(self, block: Block) -> None:
        if block.edges.strip(bytes([GUARD])):
            self.fault(f"something wrote beyond {block.nbytes} bytes of {block.kind} memory")


def _of(handles: dict[int, list[Work]], handle: int) -> list[Work]:
    if handle not in handles:
        raise CudaError(INVALID_VALUE, f"{handle:#x} is no live graph")
    return handles[handle]


_installed: list[Gpu] = []


def gpu() -> Gpu:
    """The GPU that is installed now."""
    return _installed[-1]


def submit(stream: int, work: Work) -> None:
    """Put work into a stream of the installed GPU; see :meth:`Gpu.submit`."""
    gpu().submit(stream, work)

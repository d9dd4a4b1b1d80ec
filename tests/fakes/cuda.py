"""A GPU made of host memory: contexts, streams, graphs and allocations, with the rules of CUDA enforced.

"Device memory" is ordinary memory of this process, so anything may read and write it by its address with ctypes.  What
real CUDA would answer with an error code is a :class:`fakes.cuda_errors.CudaError` here; what it would let pass, and be
wrong later, is an entry in ``faults``, which fails the test in :meth:`Gpu.check`.  Fakes of pycuda, of cuda-bindings
and of libcuda are three faces of this one GPU; :func:`fakes.install.installed` puts them in place.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field

from fakes.cuda_errors import ILLEGAL_ADDRESS, INVALID_VALUE, OUT_OF_MEMORY, CudaError
from fakes.cuda_streams import Streams, Work

FRESH, FREED, GUARD = 0xCD, 0xDD, 0xFD
"""Bytes of new memory, of freed memory, and around every allocation."""

_EDGE = 64


@dataclass
class Block:
    """An allocation; ``kind`` is ``device``, ``host`` or ``mapped``.  Memory is never given back, only poisoned."""

    address: int
    nbytes: int
    kind: str
    memory: ctypes.Array[ctypes.c_char]
    freed: bool = False

    @property
    def content(self) -> bytes:
        return ctypes.string_at(self.address, self.nbytes)

    @property
    def edges(self) -> bytes:
        return ctypes.string_at(self.address - _EDGE, _EDGE) + ctypes.string_at(self.address + self.nbytes, _EDGE)

    def fill(self, value: int) -> None:
        ctypes.memset(self.address, value, self.nbytes)


@dataclass
class Gpu(Streams):
    """The one device, and everything that was made on it.

    Attributes:
        memory: bytes in all.
        integrated: whether the GPU shares the host's memory.
    """

    memory: int = 8 << 30
    integrated: bool = False
    blocks: dict[int, Block] = field(default_factory=dict)
    installed: bool = True

    def free_bytes(self) -> int:
        self.require_context()
        return self.memory - sum(block.nbytes for block in self.blocks.values() if not block.freed)

    def allocate(self, nbytes: int, kind: str) -> int:
        self.require_context()
        self.spoil_captures(f"allocation of {kind} memory")
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
        self.spoil_captures(f"free of {block.kind} memory")
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
        """Return the GPU's address of mapped page-locked memory, the same as the host's, as with unified addresses."""
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

    def live(self) -> list[str]:
        """See :meth:`fakes.cuda_contexts.Contexts.live`."""
        blocks = [f"{block.nbytes} bytes {block.kind}" for block in self.blocks.values() if not block.freed]
        return [*super().live(), *blocks]

    def check(self) -> None:
        """Fail unless everything was given back in order, and nobody wrote where they must not."""
        for block in self.blocks.values():
            self._check_edges(block)
            if block.freed and block.content.strip(bytes([FREED])):
                self.fault(f"{block.kind} memory was written after it was freed")
        assert not self.faults, self.faults
        assert not self.live(), f"not freed: {self.live()}"
        assert not self.retained, f"context retained {self.retained} times"
        assert not any(self.stacks.values()), f"contexts left pushed: {self.stacks}"

    def _check_edges(self, block: Block) -> None:
        if block.edges.strip(bytes([GUARD])):
            self.fault(f"something wrote beyond {block.nbytes} bytes of {block.kind} memory")


_installed: list[Gpu] = []


def gpu() -> Gpu:
    """The GPU that is installed now."""
    return _installed[-1]


def submit(stream: int, work: Work) -> None:
    """Put work into a stream of the installed GPU; see :meth:`Gpu.submit`."""
    gpu().submit(stream, work)

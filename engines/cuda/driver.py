"""The CudaDriver protocol, all that the TensorRT engine needs of CUDA: one device, one stream, buffers, copies.

A driver belongs to the thread that opened it.  It owns everything that it returns and frees it in
:meth:`CudaDriver.close`, so TensorRT's objects must be dropped before.  Of several drivers in one thread the latest is
closed first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: NVIDIA's name of it.
        capability: compute capability, major and minor.
        multiprocessors: number of streaming multiprocessors.
        driver: CUDA version of the driver, 12060 for 12.6.
        memory: bytes in all; shared with the host if integrated.
        integrated: whether host and GPU share their memory.
    """

    name: str
    capability: tuple[int, int]
    multiprocessors: int
    driver: int
    memory: int
    integrated: bool


class CudaDriver(Protocol):
    """One device and one stream that is not the default one; all addresses and handles are plain integers."""

    @property
    def name(self) -> str:
        """The Python package that it uses."""

    @property
    def device(self) -> Device:
        """The GPU in use."""

    @property
    def stream(self) -> int:
        """Handle of the stream."""

    def free_memory(self) -> int:
        """Bytes free on the device now."""

    def allocate(self, nbytes: int) -> int:
        """Device memory; returns its address."""

    def page_locked(self, nbytes: int, *, mapped: bool) -> tuple[NDArray[np.uint8], int]:
        """Host memory that the GPU can copy from and to without the processor, uint8 ``[nbytes]``.

        Returns:
            The array, and the address at which the GPU sees the same bytes if ``mapped``, else 0.
        """

    def to_device(self, address: int, array: NDArray[Any]) -> None:
        """Copy a contiguous page-locked array to device memory, in the stream."""

    def to_host(self, array: NDArray[Any], address: int) -> None:
        """Copy device memory into a contiguous page-locked array, in the stream."""

    def synchronize(self) -> None:
        """Wait until all work of the stream is done."""

    def close(self) -> None:
        """Free everything, in the order that CUDA needs; a second call has no effect."""

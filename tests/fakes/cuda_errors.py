"""CUDA's error codes."""

from __future__ import annotations

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
"""Texts of the driver's cuGetErrorString."""


class CudaError(Exception):
    """A code other than 0 that CUDA would return."""

    def __init__(self, code: int, what: str = "") -> None:
        super().__init__(f"{TEXTS.get(code, code)} {what}".strip())
        self.code = code

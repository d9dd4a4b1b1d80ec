"""The primary context of a made-up GPU: initialised, retained, and current in the threads that pushed it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from fakes.cuda_errors import CONTEXT_ACTIVE, INVALID_CONTEXT, NO_DEVICE, NOT_INITIALIZED, CudaError

CONTEXT = 0x5500_0000_1000
"""Handle of the primary context."""


@dataclass
class Contexts:
    """The driver and its primary context.

    Attributes:
        devices: how many GPUs the driver finds; 0 makes ``cuInit`` fail with 100.
        init_error: code that ``cuInit`` answers with, if not 0.
        context_active: whether another library holds the primary context already.
        log: what was done, in order: ``retain``, ``push``, ``alloc device``, ``free device``, ``launch`` and so on.
        faults: misuse that real CUDA would not have noticed, or not at once.
        flags: how the primary context waits.
    """

    devices: int = 1
    init_error: int = 0
    context_active: bool = False
    log: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    flags: int = 0
    others: Counter[str] = field(default_factory=Counter)
    initialised: bool = False
    retained: int = 0
    stacks: dict[int, list[int]] = field(default_factory=dict)

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
        self._must_be_empty("popped")
        self.log.append("pop")
        self.stack.pop()

    def release(self) -> None:
        """As the real one, it does not pop the context from any stack."""
        if not self.retained:
            raise CudaError(INVALID_CONTEXT, "release without retain")
        self._must_be_empty("released")
        self.log.append("release")
        self.retained -= 1

    def _must_be_empty(self, ended: str) -> None:
        if self.retained == 1 and self.live():
            self.fault(f"context {ended} while these are live: {self.live()}")

    def require_context(self) -> None:
        if not self.stack or not self.retained:
            raise CudaError(INVALID_CONTEXT, "no context is current in this thread")

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
        """All that was made and not yet given back."""
        return list(self.others.elements())

    def fault(self, what: str) -> None:
        """Note misuse; :meth:`check` fails then, even if the code under test swallows the error."""
        self.faults.append(what)

"""A limit on the wall clock that interrupts as Ctrl-C would, so that whatever is under way keeps its checkpoint."""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from edge_occ.common.errors import InputError
from edge_occ.common.signals import interrupt

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_PATTERN = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?")


@dataclass(frozen=True)
class Budget:
    """Time that a command may take.

    Attributes:
        seconds: ``None``: no limit.
        begun: on the monotonic clock.
    """

    seconds: float | None
    begun: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    @property
    def used_up(self) -> bool:
        """Whether nothing may be begun any more."""
        return self.seconds is not None and self.elapsed >= self.seconds

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Run a block that is interrupted, as by SIGTERM, when the time is up.

        Outside the main thread, where Python allows no handlers, nothing is interrupted and :attr:`used_up` alone
        tells.
        """
        if self.seconds is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def time_is_up(_signal: int, _frame: FrameType | None) -> None:
            interrupt()

        earlier = signal.signal(signal.SIGALRM, time_is_up)
        try:
            signal.setitimer(signal.ITIMER_REAL, max(self.seconds - self.elapsed, 1e-6))
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, earlier)


def parse_budget(text: str) -> float:
    """Seconds of a duration such as ``90s``, ``20m`` or ``1h30m``.

    Raises:
        InputError: anything else, or nothing at all.
    """
    match = _PATTERN.fullmatch(text.strip().lower())
    seconds = sum(float(value) * _UNITS[unit] for unit, value in match.groupdict("0").items()) if match else 0.0
    if seconds <= 0:
        raise InputError("a duration such as 90s, 20m or 1h30m", repr(text), "for instance --budget 20m")
    return seconds

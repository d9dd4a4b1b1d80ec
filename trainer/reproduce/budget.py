"""A limit on the wall-clock time that interrupts like Ctrl-C, so that a running training keeps its checkpoint."""

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
    """A time limit of a command.

    Attributes:
        seconds: the limit, or ``None`` for no limit.
        begun: start on the monotonic clock.
    """

    seconds: float | None
    begun: float = field(default_factory=time.monotonic)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begun

    @property
    def used_up(self) -> bool:
        """True if the time is up."""
        return self.seconds is not None and self.elapsed >= self.seconds

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Run a block and interrupt it, as SIGTERM would, when the time is up.

        Outside the main thread, where Python allows no signal handlers, nothing is interrupted; check :attr:`used_up`.
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
    """Return the seconds of a duration such as ``90s``, ``20m`` or ``1h30m``.

    Raises:
        InputError: the text is not such a duration.
    """
    match = _PATTERN.fullmatch(text.strip().lower())
    seconds = sum(float(value) * _UNITS[unit] for unit, value in match.groupdict("0").items()) if match else 0.0
    if seconds <= 0:
        raise InputError("a duration such as 90s, 20m or 1h30m", repr(text), "for instance --budget 20m")
    return seconds

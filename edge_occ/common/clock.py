"""The seam of time: what reads the clock takes one, so that tests advance time instead of waiting for it."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def monotonic(self) -> float:
        """Seconds that never go backwards, from an arbitrary origin; for durations."""

    def now(self) -> datetime:
        """Current time, in UTC; for time stamps."""


class SystemClock:
    """The clock of this machine."""

    def monotonic(self) -> float:
        """Seconds of :func:`time.monotonic`."""
        return time.monotonic()

    def now(self) -> datetime:
        """Current time, in UTC."""
        return datetime.now(timezone.utc)


class ManualClock:
    """A clock that stands still until it is advanced; for tests.

    Args:
        start: time at the beginning, with a time zone.
    """

    def __init__(self, start: datetime = datetime(2025, 1, 1, tzinfo=timezone.utc)) -> None:
        self._now, self._seconds = start.astimezone(timezone.utc), 0.0

    def monotonic(self) -> float:
        """Seconds advanced so far."""
        return self._seconds

    def now(self) -> datetime:
        """Start plus the seconds advanced so far, in UTC."""
        return self._now + timedelta(seconds=self._seconds)

    def advance(self, seconds: float) -> None:
        """Move time forward.

        Args:
            seconds: at least 0.
        """
        if seconds < 0:
            raise ValueError(f"a clock advances by 0 seconds or more, not by {seconds}")
        self._seconds += seconds


SYSTEM_CLOCK = SystemClock()

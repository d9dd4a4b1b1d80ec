"""A limit of requests in a time; pure."""

from __future__ import annotations


class TokenBucket:
    """Allows ``rate`` in a second, and as many at once after a pause.

    Args:
        rate: a second, at least 1.
    """

    def __init__(self, rate: float) -> None:
        self._rate = self._tokens = rate
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Return whether one more is allowed at ``now``, monotonic seconds."""
        since = 0.0 if self._at is None else max(now - self._at, 0.0)
        self._at = now
        self._tokens = min(self._tokens + since * self._rate, self._rate)
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

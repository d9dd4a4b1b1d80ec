"""Detection of a second client with the same id, and the pause before the next connection; pure but for the log."""

from __future__ import annotations

from edge_occ.mqtt.client.connection_log import CLOSED, TAKEN_OVER, ConnectionLog
from edge_occ.mqtt.client.paho_client import RECONNECT_SECONDS

_SHORT_SECONDS, _MAX_SHORT = 15.0, 4
"""This many connections in a row, each closed by the broker within so many seconds, indicate a takeover.  Not every
broker reports one: mosquitto 2.0.11 does not."""
_BACKOFF_SECONDS, _MAX_BACKOFF_SECONDS = 5, 60
"""First and longest pause after a takeover.  Without it two clients with one id replace each other every second."""


class TakeoverDetector:
    """Distinguishes a takeover from a bad network.

    Args:
        client_id: named in the log.
        log: log of connection problems.
    """

    def __init__(self, client_id: str, log: ConnectionLog) -> None:
        self._client_id, self._log = client_id, log
        self._connected_at = 0.0
        self._short = self._takeovers = 0

    def connected(self, now: float) -> tuple[int, int]:
        """Record a connection at ``now``, monotonic seconds; return the first and longest pause after its end."""
        self._connected_at = now
        return RECONNECT_SECONDS

    def disconnected(self, reason: str, now: float) -> tuple[int, int]:
        """Record its end for a ``reason`` in paho's words; return the first and longest pause before reconnecting."""
        short = reason == CLOSED and now - self._connected_at < _SHORT_SECONDS
        self._short = self._short + 1 if short else 0
        if reason != TAKEN_OVER and self._short < _MAX_SHORT:
            self._log.lost(reason)
            return RECONNECT_SECONDS
        self._takeovers += 1
        self._log.taken_over(self._client_id, certain=reason == TAKEN_OVER)
        pause = min(_BACKOFF_SECONDS * 2 ** min(self._takeovers - 1, 10), _MAX_BACKOFF_SECONDS)
        return pause, max(pause, RECONNECT_SECONDS[1])

"""How connections end, and how long to wait before the next one; pure but for the log."""

from __future__ import annotations

from edge_occ.mqtt.client.connection_log import CLOSED, TAKEN_OVER, ConnectionLog
from edge_occ.mqtt.client.paho_client import RECONNECT_SECONDS

_SHORT_SECONDS, _SHORT_ENDS = 15.0, 4
"""Connections that the broker closes so soon, so many in a row, were hardly closed by chance.  Not every broker says
that another client has taken one over: mosquitto 2.0.11 does not."""
_YIELD_SECONDS, _LONGEST_YIELD_SECONDS = 5, 60
"""Pause before the next connection then: at first, and at most.  Without it two clients with one id would throw each
other out every second."""


class TakeoverDetector:
    """Tells a client that another one throws out from one whose network is bad.

    Args:
        client_id: named in the log.
        complaints: where it is logged.
    """

    def __init__(self, client_id: str, complaints: ConnectionLog) -> None:
        self._client_id, self._complaints = client_id, complaints
        self._begun = 0.0
        self._short = self._thrown_out = 0

    def begun(self, now: float) -> tuple[int, int]:
        """A connection began at ``now``, monotonic seconds; gives the first and the longest pause after its end."""
        self._begun = now
        return RECONNECT_SECONDS

    def ended(self, reason: str, now: float) -> tuple[int, int]:
        """It ended for a ``reason`` in paho's words; gives the first and the longest pause before the next attempt."""
        short = reason == CLOSED and now - self._begun < _SHORT_SECONDS
        self._short = self._short + 1 if short else 0
        if reason != TAKEN_OVER and self._short < _SHORT_ENDS:
            self._complaints.lost(reason)
            return RECONNECT_SECONDS
        self._thrown_out += 1
        self._complaints.thrown_out(self._client_id, sure=reason == TAKEN_OVER)
        pause = min(_YIELD_SECONDS * 2 ** min(self._thrown_out - 1, 10), _LONGEST_YIELD_SECONDS)
        return pause, max(pause, RECONNECT_SECONDS[1])

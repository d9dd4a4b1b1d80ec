"""Event messages that were received before: with QoS 1, or after a broker was killed, one may arrive twice."""

from __future__ import annotations

from collections import deque

from edge_occ.mqtt.payloads import Event

_MAX_MESSAGES = 20_000


class SeenEvents:
    """Recognises the repetition of an event message among the latest 20,000, by its topic, id, phase and frame."""

    def __init__(self) -> None:
        self._order: deque[tuple[str, str, str, int]] = deque()
        self._known: set[tuple[str, str, str, int]] = set()

    def is_repeated(self, topic: str, event: Event) -> bool:
        """Return whether this message was given before, and remember it."""
        key = (topic, event.id, event.phase.value, event.frame)
        if key in self._known:
            return True
        self._order.append(key)
        self._known.add(key)
        if len(self._order) > _MAX_MESSAGES:
            self._known.discard(self._order.popleft())
        return False

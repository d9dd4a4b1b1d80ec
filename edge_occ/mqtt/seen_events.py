"""Event messages that were received before: with QoS 1, or after a broker was killed, one may arrive twice."""

from __future__ import annotations

import hashlib

from edge_occ.mqtt.payloads import Event

_MAX_MESSAGES = 20_000


class SeenEvents:
    """Recognises the repetition of an event message among the latest 20,000, by its topic, id, phase and frame.

    Digests are kept, as a topic and an id may be as long as whoever publishes them likes.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, None] = {}  # in the order of arrival

    def is_repeated(self, topic: str, event: Event) -> bool:
        """Return whether this message was given before, and remember it."""
        text = repr((topic, event.id, event.phase.value, event.frame))
        key = hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=16).digest()
        if key in self._known:
            return True
        self._known[key] = None
        if len(self._known) > _MAX_MESSAGES:
            del self._known[next(iter(self._known))]
        return False

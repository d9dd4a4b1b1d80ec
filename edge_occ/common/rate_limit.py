"""Messages that repeat themselves: the first of a kind are told, the others counted."""

from __future__ import annotations

import time
from collections.abc import Callable


class Sparing:
    """Tells so many messages of a kind in a while, and with the next one how many it kept to itself.

    Not for several threads.

    Args:
        tell: takes a line of text.
        most: messages of one kind in ``seconds``.
        seconds: the while.
        clock: seconds that only grow; tests put their own here.
    """

    def __init__(
        self,
        tell: Callable[[str], object],
        most: int = 5,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tell, self._most, self._seconds, self._clock = tell, most, seconds, clock
        self._begun: dict[str, float] = {}
        self._told: dict[str, int] = {}
        self._held: dict[str, int] = {}

    def __call__(self, kind: str, text: str) -> None:
        """Tell ``text``, or count it as one more of its kind."""
        now = self._clock()
        if now - self._begun.get(kind, float("-inf")) >= self._seconds:
            self._begun[kind], self._told[kind] = now, 0
        if self._told[kind] == self._most:
            self._held[kind] = self._held.get(kind, 0) + 1
            return
        self._told[kind] += 1
        held = self._held.pop(kind, 0)
        self._tell(f"{text} (and {held} more like it before)" if held else text)

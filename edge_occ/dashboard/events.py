"""One event as a whole, from its messages; pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_occ.mqtt.payloads import Event

MAX_ID = 200
"""Characters of an event's id; an event with a longer one is not kept."""

_EVIDENCE = ("evidence_frame", "evidence_heatmap", "evidence_record")
_MAX_PATH = 1000


@dataclass
class EventRecord:
    """An event, from messages that may come twice, in any order, or in part.

    Attributes:
        id: of the event.
        started, ended: time of its first and last frame, epoch milliseconds; ``None`` until that message came.
        peak: highest score so far.
        peak_at: time of that score, as far as it is known.
        frames: frames from start to end, so far.
        boxes: regions in the message that had most of them.
        historical: whether it happened while the broker was out of reach.
        muted: whether an operator has muted its alarm.
        reason: why it ended, where the inspector did not end it.
        evidence: paths of the pictures taken at the peak, by the keys of the messages.
        missed: whether messages may have been missed since its latest one, so that it may have ended.
    """

    id: str
    started: int | None = None
    ended: int | None = None
    peak: float | None = None
    peak_at: int | None = None
    frames: int = 0
    boxes: int = 0
    historical: bool = False
    muted: bool = False
    reason: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    missed: bool = False
    _evidence_peak: float | None = None

    def merge(self, message: Event) -> None:
        """Add what one of its messages says."""
        phase, at = message.phase.value, message.ts
        self.missed = False
        if phase == "start":
            self.started = at if self.started is None else min(self.started, at)
        elif phase == "end":
            self.ended = at if self.ended is None else min(self.ended, at)
        self._merge_peak(message, None if phase == "end" else at)
        self.frames = max(self.frames, message.frames)
        self.boxes = max(self.boxes, len(message.boxes))
        self.historical |= message.historical
        self.muted |= message.muted
        self.reason = self.reason or message.reason
        found = _evidence_of(message)
        if found and (self._evidence_peak is None or message.peak > self._evidence_peak):
            self.evidence, self._evidence_peak = found, message.peak

    def _merge_peak(self, message: Event, at: int | None) -> None:
        """The end repeats the peak, but not its time."""
        if self.peak is None or message.peak > self.peak:
            self.peak, self.peak_at = message.peak, at
        elif message.peak == self.peak and at is not None:
            self.peak_at = at if self.peak_at is None else min(self.peak_at, at)

    def view(self, latest: bool) -> dict[str, Any]:
        """Return flat JSON; keys whose values are unknown are left out.

        Args:
            latest: whether no event of its camera began later; only such a one can be open.
        """
        known = {"started": self.started, "peak_at": self.peak_at, "ended": self.ended, "reason": self.reason}
        return {
            "id": self.id,
            **{key: value for key, value in known.items() if value is not None},
            "peak": self.peak,
            "frames": self.frames,
            "boxes": self.boxes,
            "open": int(self.is_open(latest)),
            "historical": int(self.historical),
            "muted": int(self.muted),
            **self.evidence,
        }

    def is_open(self, latest: bool) -> bool:
        """Return whether it has not ended, as far as that is known."""
        return latest and self.ended is None and not self.missed


def _evidence_of(message: Event) -> dict[str, str]:
    """Paths of evidence in a message; they are empty where the device keeps none."""
    return {key: path for key in _EVIDENCE if 0 < len(path := str(getattr(message, key))) <= _MAX_PATH}

"""State of one camera, and the parts of it that changed since a revision; pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any

from edge_occ.dashboard.events import MAX_ID, EventRecord
from edge_occ.dashboard.limits import Limits
from edge_occ.mqtt.payloads import DeviceStatus, Event, HeatmapInfo, Score
from edge_occ.mqtt.received import Received
from edge_occ.mqtt.stats_payload import Stats

_MAX_TEXT = 1000
_LEVELS = {"normal": 0, "review": 1, "anomalous": 2}


@dataclass(frozen=True)
class Heatmap:
    """The latest heatmap.

    Attributes:
        jpeg: the picture.
        revision: of the change that brought it.
    """

    jpeg: bytes
    revision: int


@dataclass
class _Point:
    at: int
    score: float
    level: int
    revision: int


class Tile:
    """One camera; the names of its parts are those of the JSON in :meth:`changes`.

    Args:
        number: identifies the tile for browsers.
        place, device, camera: of the topic; empty where the topic has no such level.
        limits: bounds of its histories.
        revision: of the change that made it.
        now: epoch milliseconds.

    Attributes:
        revision: of the latest change.
        heatmap: the latest one, if any.
    """

    def __init__(
        self, number: int, place: str, device: str, camera: str, limits: Limits, revision: int, now: int
    ) -> None:
        self.number, self.place, self.device, self.camera = number, place, device, camera
        self.revision = revision
        self.heatmap: Heatmap | None = None
        self._limits, self._created = limits, revision
        self._parts: dict[str, tuple[int, Any]] = {}
        self._points: deque[_Point] = deque(maxlen=limits.points)
        self._events: OrderedDict[str, tuple[EventRecord, int]] = OrderedDict()
        self._state, self._detail, self._verdict = "", "", ""
        self._heard, self._silent = now, False
        self._seen: int | None = None

    def apply(self, received: Received, revision: int, now: int) -> None:
        """Take a message that arrived at ``now``."""
        message = received.message
        self._note_sign_of_life(received, now)
        if isinstance(message, Score):
            self._score(message, revision, now)
        elif isinstance(message, Event):
            self._event(message, revision)
        elif isinstance(message, HeatmapInfo):
            self._heatmap(message, received.jpeg or b"", revision)
        elif isinstance(message, Stats):
            self._set("stats", _stats(message), revision)
        elif isinstance(message, DeviceStatus):
            self._state, self._detail = message.state.value, (message.detail or "")[:_MAX_TEXT]
        self._update_condition(revision)

    def tick(self, revision: int, now: int) -> bool:
        """Take the time; return whether something changed."""
        self._silent = now - self._heard > self._limits.silent_seconds * 1000
        return self._update_condition(revision)

    def miss(self, revision: int) -> bool:
        """Take notice that messages may have been missed; return whether something changed."""
        hit = False
        for name, (record, _) in self._events.items():
            if record.ended is None and not record.missed:
                record.missed, hit = True, True
                self._events[name] = record, revision
        if hit:
            self.revision = revision
            self._update_condition(revision)
        return hit

    def drop_heatmap(self) -> None:
        """Forget the picture; browsers keep theirs."""
        self.heatmap = None

    def changes(self, since: int) -> dict[str, Any]:
        """Return the parts that changed after revision ``since``, as JSON; all parts since revision 0."""
        view: dict[str, Any] = {"id": self.number}
        if self._created > since:
            view |= {"place": self.place, "device": self.device, "camera": self.camera}
        view |= {name: value for name, (revision, value) in self._parts.items() if revision > since}
        points = [[point.at, point.score, point.level] for point in self._points if point.revision > since]
        if points:
            view["points"] = points
        if any(revision > since for _, revision in self._events.values()):
            view["events"] = [event for event, _ in self.events()]
        return view

    def events(self) -> list[tuple[dict[str, Any], int]]:
        """Return events and the revisions of their latest changes, the latest event first."""
        latest = next(reversed(self._events), None)
        return [(record.view(name == latest), revision) for name, (record, revision) in reversed(self._events.items())]

    def _note_sign_of_life(self, received: Received, now: int) -> None:
        """A retained message is as old as its own time; a will has none of its own."""
        if not received.retained:
            self._heard = self._seen = now
            self._silent = False
        elif isinstance(received.message, HeatmapInfo | Stats):
            self._seen = max(self._seen or 0, min(received.message.ts, now))

    def _score(self, message: Score, revision: int, now: int) -> None:
        self._verdict = message.verdict.value
        level = _LEVELS.get(self._verdict, 0)
        score = {
            "score": message.score,
            "threshold": message.threshold,
            **({} if message.review_threshold == message.threshold else {"review_threshold": message.review_threshold}),
            "verdict": self._verdict,
            "p_value": message.p_value,
            "frame": message.frame,
            "ts": message.ts,
        }
        self._set("score", score, revision)
        at = now - now % self._limits.point_ms
        last = self._points[-1] if self._points else None
        if last is None or at > last.at:
            self._points.append(_Point(at, message.score, level, revision))
        else:
            last.score, last.level = max(last.score, message.score), max(last.level, level)
            last.revision = revision

    def _event(self, message: Event, revision: int) -> None:
        if len(message.id) > MAX_ID:
            return
        record, _ = self._events.get(message.id, (EventRecord(message.id), revision))
        record.merge(message)
        if message.id not in self._events:
            self._close_latest(revision)
        self._events[message.id] = record, revision
        while len(self._events) > self._limits.events:
            self._events.popitem(last=False)
        self.revision = revision

    def _close_latest(self, revision: int) -> None:
        """Another event begins: the one before it is not open any longer, which is a change of it."""
        name, (record, _) = next(reversed(self._events.items()), ("", (None, 0)))
        if record is not None and record.is_open(latest=True):
            self._events[name] = record, revision

    def _heatmap(self, message: HeatmapInfo, jpeg: bytes, revision: int) -> None:
        self.heatmap = Heatmap(jpeg, revision)
        view = {"revision": revision, "score": message.score, "verdict": message.verdict.value, "ts": message.ts}
        self._set("heatmap", view, revision)

    def _update_condition(self, revision: int) -> bool:
        name = self._condition()
        before = self._parts.get("condition", (0, {}))[1]
        if (before.get("name"), before.get("detail")) == (name, self._detail):
            return False
        seen = {} if self._seen is None else {"seen": self._seen}
        self._set("condition", {"name": name, "detail": self._detail, **seen}, revision)
        return True

    def _condition(self) -> str:
        """Return the one word that says most: the device's own state comes before what it saw last."""
        if self._state == "offline":
            return "offline"
        if self._state == "building":  # says nothing meanwhile; if it dies, its will follows
            return "building"
        if self._silent:
            return "silent"
        if self._state == "fault":
            return "fault"
        last = next(reversed(self._events.values()), None)
        if last is not None and last[0].is_open(latest=True):
            return "muted" if last[0].muted else "anomalous"
        return self._verdict or "waiting"

    def _set(self, part: str, value: Any, revision: int) -> None:  # noqa: ANN401 - JSON
        self._parts[part] = revision, value
        self.revision = revision


def _stats(message: Stats) -> dict[str, Any]:
    queues = message.queues
    return {
        "fps": message.fps,
        "latency_p95_ms": message.latency_p95_ms,
        "frames": message.frames,
        "dropped": message.dropped,
        "lost": queues.score.dropped + queues.event.dropped + queues.heatmap.dropped,
        "events_lost": queues.event.dropped + message.events_refused,
        "faults": message.faults,
        "engine": message.engine[:_MAX_TEXT],
        "bundle": message.bundle[:_MAX_TEXT],
        "drift_alarm": message.drift_alarm,
        "drift_log10": message.drift_log10,
        "drift_psi": message.drift_psi,
    }

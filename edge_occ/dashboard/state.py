"""State of a line for a dashboard: messages in, what changed out; pure, and bounded whatever is published."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from edge_occ.dashboard.limits import Limits
from edge_occ.dashboard.tile import Heatmap, Tile
from edge_occ.mqtt.received import Received

_MAX_NAME = 512
"""Characters of the name of a place, a device or a camera; others are left out."""


class LineState:
    """All cameras of a line, or of several.

    Every change has a revision.  A reader remembers the revision that it has, and asks for what changed since: nothing
    is kept for a reader, however slow it is.

    Args:
        limits: bounds of what is kept.

    Attributes:
        revision: of the latest change; 0 at first.
        messages: messages taken.
        left_out: messages of devices beyond the bounds.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.revision = self.messages = self.left_out = 0
        self._limits = limits if limits is not None else Limits()
        self._tiles: dict[tuple[str, str, str], Tile] = {}
        self._heatmap_bytes = 0

    @property
    def devices(self) -> int:
        """Number of devices and cameras that are shown."""
        return len(self._tiles)

    def apply(self, received: Received) -> None:
        """Take a message."""
        self.messages += 1
        self.revision += 1
        now = _milliseconds(received.received_at)
        tile = self._tile(received, now)
        size = len(received.jpeg or b"")
        if tile is None or size > self._limits.heatmap_bytes:
            self.left_out += 1
            return
        if received.jpeg is not None:
            self._heatmap_bytes += size - _size(tile)
        tile.apply(received, self.revision, now)
        while self._heatmap_bytes > self._limits.heatmaps_bytes:
            oldest = min((t for t in self._tiles.values() if t.heatmap), key=lambda t: t.heatmap.revision)  # type: ignore[union-attr]
            self._heatmap_bytes -= _size(oldest)
            oldest.drop_heatmap()

    def tick(self, now: datetime) -> None:
        """Take the time: devices without messages become silent."""
        moment, revision = _milliseconds(now), self.revision + 1
        changed = [tile.tick(revision, moment) for tile in self._tiles.values()]
        if any(changed):
            self.revision = revision

    def miss(self) -> None:
        """Take notice that messages may have been missed, as after a connection to the broker was lost."""
        revision = self.revision + 1
        changed = [tile.miss(revision) for tile in self._tiles.values()]
        if any(changed):
            self.revision = revision

    def changes(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the parts of every tile that changed after revision ``since``, as JSON."""
        return [tile.changes(since) for tile in self._tiles.values() if tile.revision > since]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the events that changed after revision ``since``, the latest first, as JSON."""
        found = [
            (revision, {"place": tile.place, "device": tile.device, "camera": tile.camera, **event})
            for tile in self._tiles.values()
            if tile.revision > since
            for event, revision in tile.events()
            if revision > since
        ]
        found.sort(key=lambda of: (of[1].get("started", of[1].get("ended", 0)), of[0]), reverse=True)
        return [event for _, event in found[: self._limits.listed_events]]

    def heatmap(self, device: str, camera: str = "", place: str = "") -> Heatmap | None:
        """Return the latest heatmap of a camera."""
        tile = self._tiles.get((place, device, camera))
        return None if tile is None else tile.heatmap

    def _tile(self, received: Received, now: int) -> Tile | None:
        key = received.place, received.device, received.camera or ""
        tile = self._tiles.get(key)
        if tile is None and len(self._tiles) < self._limits.tiles and max(map(len, key)) <= _MAX_NAME:
            tile = self._tiles[key] = Tile(len(self._tiles), *key, self._limits, self.revision, now)
        return tile


def _size(tile: Tile) -> int:
    return 0 if tile.heatmap is None else len(tile.heatmap.jpeg)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)

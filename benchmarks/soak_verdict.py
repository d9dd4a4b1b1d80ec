"""What a soak requires: frames, pictures and event messages that are all there, and no growth."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from mqtt_helpers import Ear, payloads
from soak_measures import Gaps, Usage, floor_growth, slope

from edge_occ.mqtt.payloads import Event

_JUDGED_HOURS = 1.0
"""Length from which growth of memory is judged: on a shorter run its uncertainty is larger than the limit."""
MB_AN_HOUR = 1.0


@dataclass
class Result:
    """Figures of a soak; ``failures`` is empty where everything held."""

    figures: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def require(self, holds: bool, what: str) -> None:
        """Record a failure unless something holds."""
        if not holds:
            self.failures.append(what)


class Listener:
    """Reads the inspector's lines of JSON: frames by camera, the gaps between them, names of the folder's pictures."""

    def __init__(self, stream: IO[str]) -> None:
        self.gaps, self.pictures, self.faults = Gaps(), Counter(), Counter()
        self._thread = threading.Thread(target=self._run, args=(stream,))
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the stream."""
        self._thread.join()

    def _run(self, stream: IO[str]) -> None:
        for line in stream:
            content = json.loads(line)
            if content["schema"] == "edge-occ/score/1":
                self.gaps.add(content["camera"], time.monotonic())
            elif content["schema"] == "edge-occ/fault/1":
                self.faults[content["reason"]] += 1
            if content.get("camera") == "folder":
                self.pictures[content["name"]] += 1


def inspected(listener: Listener, written: int, largest_gap: float, result: Result) -> dict[str, Any]:
    """Return the frames, and require that they came all the time, and each picture of the folder once."""
    pictures, gaps = listener.pictures, listener.gaps
    result.require(len(pictures) == written, f"{written - len(pictures)} pictures of the folder were not inspected")
    result.require(set(pictures.values()) <= {1}, "pictures of the folder were inspected again")
    gap = gaps.largest.get("video", math.inf)
    result.require(gap <= largest_gap, f"no frame of the video for {gap:.1f} s")
    return {
        "frames": dict(gaps.frames),
        "largest gap, s": {name: round(gap, 2) for name, gap in gaps.largest.items()},
        "frames not inspected": dict(listener.faults),
        "pictures written": written,
        "pictures inspected": len(pictures),
        "pictures repeated": sum(count - 1 for count in pictures.values()),
    }


def made(folder: Path) -> list[tuple[str, ...]]:
    """Camera, id, phase and frame of the event messages that the inspection made so far."""
    log = folder / "events.log"
    return [tuple(line.split()) for line in log.read_text().splitlines()] if log.exists() else []


def keys(ear: Ear) -> list[tuple[str, ...]]:
    """The same of those that arrived at the plain subscriber."""
    return [(e["camera"], e["id"], e["phase"], str(e["frame"])) for e in payloads(ear.of("event"))]


def shown(events: list[Event]) -> list[tuple[str, ...]]:
    """The same of those that ``watch`` shows."""
    return [(event.camera or "", event.id, event.phase.value, str(event.frame)) for event in list(events)]


def usage(samples: list[Usage], warm_up: float, result: Result) -> dict[str, Any]:
    """Return the growth after the warm-up, and require that there is none where that can be judged."""
    warm = [sample for sample in samples if sample.seconds >= warm_up]
    if len(warm) < 10:
        return {"growth": "the run was too short"}
    threads, files = (floor_growth([getattr(s, name) for s in warm]) for name in ("threads", "files"))
    rss = slope([s.seconds for s in warm], [s.rss_mb for s in warm])
    result.require(threads <= 0, f"{threads} more threads")
    result.require(files <= 0, f"{files} more open files")
    judged = warm[-1].seconds - warm[0].seconds >= _JUDGED_HOURS * 3600
    result.require(not judged or rss.low < MB_AN_HOUR, f"memory grows by {rss.value:.2f} MB an hour")
    return {
        "threads": f"{warm[0].threads} to {warm[-1].threads}, growth {threads}",
        "open files": f"{warm[0].files} to {warm[-1].files}, growth {files}",
        "memory, MB": f"{warm[0].rss_mb:.1f} to {warm[-1].rss_mb:.1f}, most {max(s.rss_mb for s in warm):.1f}",
        "memory growth, MB an hour": f"{rss.value:.2f} (95 %: {rss.low:.2f} to {rss.high:.2f})"
        + ("" if judged else ", too short to judge"),
    }

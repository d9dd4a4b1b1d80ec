"""Measures of a process and of its messages, and what a soak requires of them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

HOURS = 3600.0
_MOST_POINTS = 400


@dataclass(frozen=True)
class Usage:
    """Use of a process at one moment: seconds since the start, megabytes resident, threads, open files."""

    seconds: float
    rss_mb: float
    threads: int
    files: int

    @classmethod
    def of(cls, process: int, seconds: float) -> Usage:
        """Read it from ``/proc``."""
        proc = Path("/proc") / str(process)
        fields = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        rss = int(fields["VmRSS"].split()[0]) / 1024
        return cls(seconds, rss, int(fields["Threads"]), len(list((proc / "fd").iterdir())))


class Sampler:
    """Reads the usage of a process every ``period`` seconds, until the block is left."""

    def __init__(self, process: int, period: float) -> None:
        self.samples: list[Usage] = []
        self._process, self._period, self._done = process, period, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Read no more."""
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        begun = time.monotonic()
        while not self._done.wait(self._period):
            with suppress(OSError, KeyError):  # it has ended
                self.samples.append(Usage.of(self._process, time.monotonic() - begun))


@dataclass(frozen=True)
class Slope:
    """Growth an hour, by Theil and Sen, with its 95 % interval by Sen.

    The interval takes the points for independent; they are medians of blocks of samples, which are nearly so.
    """

    value: float
    low: float
    high: float


def slope(seconds: Iterable[float], values: Iterable[float], blocks: int = 60) -> Slope | None:
    """Return the growth an hour; ``None`` for less than ten samples."""
    x, y = np.asarray(list(seconds)) / HOURS, np.asarray(list(values), float)
    if len(x) < 10:
        return None
    parts = min(blocks, len(x), _MOST_POINTS)
    x, y = (np.array([np.median(part) for part in np.array_split(array, parts)]) for array in (x, y))
    first, second = np.triu_indices(parts, 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    spread = 1.96 * np.sqrt(parts * (parts - 1) * (2 * parts + 5) / 18)
    low = max(int((len(slopes) - spread) / 2), 0)
    high = min(int((len(slopes) + spread) / 2), len(slopes) - 1)
    return Slope(float(np.median(slopes)), float(slopes[low]), float(slopes[high]))


def floor_growth(values: list[int]) -> int:
    """Return by how much the lowest value of the last third is above that of the first: what a leak raises."""
    third = max(len(values) // 3, 1)
    return min(values[-third:]) - min(values[:third])


@dataclass(frozen=True)
class Delivery:
    """Event messages that arrived, compared with those that the inspection made."""

    made: int
    missing: int
    unknown: int
    repeated: int


def compare(made: Iterable[tuple[str, ...]], arrived: Iterable[tuple[str, ...]]) -> Delivery:
    """Compare by camera, id, phase and frame."""
    truth, counts = set(made), Counter(arrived)
    return Delivery(
        len(truth), len(truth - set(counts)), len(set(counts) - truth), sum(count - 1 for count in counts.values())
    )


class Gaps:
    """The largest time between two lines of a camera; not thread-safe."""

    def __init__(self) -> None:
        self.largest: dict[str, float] = {}
        self.frames: Counter[str] = Counter()
        self._last: dict[str, float] = {}

    def add(self, camera: str, now: float) -> None:
        """Record a frame."""
        if camera in self._last:
            self.largest[camera] = max(self.largest.get(camera, 0.0), now - self._last[camera])
        self._last[camera] = now
        self.frames[camera] += 1

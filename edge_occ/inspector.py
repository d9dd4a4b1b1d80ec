"""The loop: source, engine, verdict, sinks."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_occ.decision import EventTracker, Judge
from edge_occ.errors import EngineUnavailable
from edge_occ.heatmap import find_boxes
from edge_occ.inspection import Inspection, Sink
from edge_occ.sources.base import Frame, Source
from engines.base import Engine

_LATENCIES = 10_000


@dataclass(frozen=True)
class Summary:
    """What a run amounted to.

    Attributes:
        frames: frames scored.
        dropped: frames the source dropped.
        anomalous: frames above the threshold.
        events: events begun.
        seconds: from the first frame to the last.
        latency_ms: p50, p95 and p99 from capture to verdict, of the last 10,000 frames; empty without frames.
    """

    frames: int
    dropped: int
    anomalous: int
    events: int
    seconds: float
    latency_ms: dict[str, float]

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0


class Inspector:
    """Scores frames one after another, in the thread that calls it.

    Args:
        engine: has passed the parity gate.
        judge: turns scores into verdicts.
        tracker: turns verdicts into events.
        sinks: must return at once from ``publish``.
    """

    def __init__(self, engine: Engine, judge: Judge, tracker: EventTracker, sinks: Sequence[Sink]) -> None:
        self._engine, self._judge, self._tracker, self._sinks = engine, judge, tracker, sinks

    def inspect(self, frame: Frame) -> Inspection:
        """Score one frame and decide, without telling anyone.

        Raises:
            EngineUnavailable: the engine gave no number; a NaN would pass for normal.
        """
        scores = self._engine.infer(frame.image)
        if not math.isfinite(scores.score):
            raise EngineUnavailable(
                "a finite score", f"{scores.score} for frame {frame.index}", "run 'edge-occ verify BUNDLE'"
            )
        verdict = self._judge.judge(scores.score)
        boxes = find_boxes(scores.map, verdict.threshold, frame.image.shape) if verdict.anomalous else ()
        return Inspection(frame, scores, verdict, boxes, self._tracker.step(verdict))

    def run(self, source: Source, max_frames: int | None = None) -> Summary:
        """Inspect until the source ends or is closed, or ``max_frames`` are done.

        The event under way, if any, is ended before this returns.

        Args:
            source: entered already.
            max_frames: at least 1, or ``None``.

        Raises:
            SourceLost: the source is gone for good; the event under way is ended before.
        """
        frames = anomalous = events = 0
        latencies: list[float] = []
        begun = ended = time.monotonic()
        last: Inspection | None = None
        try:
            for frame in source:
                last = self.inspect(frame)
                ended = time.monotonic()
                if frames == 0:
                    begun = frame.captured_monotonic
                frames += 1
                anomalous += last.verdict.anomalous
                events += last.event is not None and last.event.frames == 1
                latencies.append((ended - frame.captured_monotonic) * 1e3)
                del latencies[:-_LATENCIES]
                for sink in self._sinks:
                    sink.publish(last)
                if frames == max_frames:
                    break
        finally:
            self._finish(last)
        return Summary(frames, source.dropped, anomalous, events, ended - begun, _quantiles(latencies))

    def _finish(self, last: Inspection | None) -> None:
        change = self._tracker.finish()
        if change is not None and last is not None:
            for sink in self._sinks:
                sink.finish(replace(last, event=change))


def _quantiles(milliseconds: Sequence[float]) -> dict[str, float]:
    if not milliseconds:
        return {}
    values = np.percentile(milliseconds, [50, 95, 99])
    return {name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}

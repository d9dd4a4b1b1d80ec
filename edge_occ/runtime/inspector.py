"""The loop: source, engine, verdict, sinks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.inspection.guards import Guards
from edge_occ.inspection.regions import find_boxes
from edge_occ.inspection.result import Inspection
from edge_occ.inspection.scoring import FaultTally, score_frame, unscored
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import Sink
from edge_occ.sources.faults import Fault, Unscored
from edge_occ.sources.frame import Frame, Source
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
        seconds: from the first frame scored to the last.
        verdict_ms: p50, p95 and p99 from capture to verdict, of the last 10,000 frames; empty without frames.
        faults: frames that were not inspected, by reason.
        lost: by name of the output, how often it could not take what it was given.
    """

    frames: int
    dropped: int
    anomalous: int
    events: int
    seconds: float
    verdict_ms: dict[str, float]
    faults: Mapping[str, int] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)

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
        guards: check every frame before it is scored; none: every frame is scored.
    """

    def __init__(
        self,
        engine: Engine,
        judge: ConformalThreshold,
        tracker: EventTracker,
        sinks: Sequence[Sink],
        guards: Guards | None = None,
    ) -> None:
        self._engine, self._judge, self._tracker, self._guards = engine, judge, tracker, guards
        self._outlets = Outlets(sinks)
        self._faults = FaultTally()
        self._frames = self._anomalous = self._events = 0
        self._begun = self._ended = 0.0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._last: Inspection | None = None

    @property
    def lost(self) -> Mapping[str, int]:
        """By name of the output, how often it could not take what it was given."""
        return self._outlets.lost

    def inspect(self, frame: Frame) -> Inspection | Fault:
        """Score one frame and decide, without telling anyone.

        A frame is a fault if a guard finds one or if it has no finite score.
        """
        guarded = None if self._guards is None else self._guards.check(frame)
        if guarded is not None:
            return Fault(frame.index, frame.captured_at, guarded, frame.name)
        try:
            scores = score_frame(self._engine, frame.image)
            verdict = self._judge.verdict(scores.score)
            boxes = find_boxes(scores.map, verdict.threshold, frame.image.shape) if verdict.anomalous else ()
        except Unscored as error:
            return Fault(frame.index, frame.captured_at, error, frame.name)
        except Exception as error:  # noqa: BLE001 - a map that makes no boxes is the engine's fault
            return Fault(frame.index, frame.captured_at, unscored(error), frame.name)
        elapsed = (time.monotonic() - frame.captured_monotonic) * 1e3
        return Inspection(frame, scores, verdict, boxes, self._tracker.step(verdict), elapsed)

    def run(self, source: Source, max_frames: int | None = None) -> Summary:
        """Inspect until the source ends or is closed, or ``max_frames`` are scored.

        The event under way, if any, is ended before this returns.  What was done until an error is in :meth:`summary`.

        Args:
            source: entered already.
            max_frames: at least 1, or ``None``.

        Raises:
            SourceLost: the source is gone for good, or gave no frames; the event under way is ended before.
            EngineUnavailable: the engine has scored no frame, or none of many in a row; the same.
        """
        try:
            self._inspect_all(source, max_frames)
        finally:
            self._finish()
        self._faults.check(self._frames)
        return self.summary(source.dropped)

    def summary(self, dropped: int) -> Summary:
        """What was done so far; ``dropped`` is the source's count."""
        faults = {reason.value: count for reason, count in self._faults.counts.items()}
        seconds, verdict_ms = self._ended - self._begun, _quantiles(self._latencies)
        counts = (self._frames, dropped, self._anomalous, self._events)
        return Summary(*counts, seconds, verdict_ms, faults, dict(self._outlets.lost))

    def _inspect_all(self, source: Iterable[Frame | Fault], max_frames: int | None) -> None:
        for frame in source:
            result = self.inspect(frame) if isinstance(frame, Frame) else frame
            if isinstance(result, Fault):
                self._outlets.fault(result)
                self._faults.add(result.cause)
                continue
            self._count(result)
            self._outlets.publish(result)
            if self._frames == max_frames:
                break

    def _count(self, inspection: Inspection) -> None:
        self._last, self._ended = inspection, time.monotonic()
        if self._frames == 0:
            self._begun = inspection.frame.captured_monotonic
        self._frames += 1
        self._anomalous += inspection.verdict.anomalous
        self._events += inspection.event is not None and inspection.event.phase is Phase.START
        self._latencies.append(inspection.verdict_ms)
        self._faults.scored()

    def _finish(self) -> None:
        change = self._tracker.finish()
        if change is not None and self._last is not None:
            self._outlets.finish(replace(self._last, event=change))


def _quantiles(milliseconds: Sequence[float]) -> dict[str, float]:
    if not milliseconds:
        return {}
    values = np.percentile(milliseconds, [50, 95, 99])
    return {name: round(float(value), 2) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}

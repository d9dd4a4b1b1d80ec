"""The inspection of one camera: guards, engine, verdict, event, sinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.clock import SYSTEM_CLOCK, Clock
from edge_occ.common.size import Size
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.inspection.guards import Guards
from edge_occ.inspection.metrics import Histogram, Laps, Latencies, Stage
from edge_occ.inspection.result import Inspection
from edge_occ.inspection.scoring import FaultTally, score_frame, unscored
from edge_occ.inspection.snapshot import Snapshot
from edge_occ.inspection.trigger import Trigger
from edge_occ.inspection.view import View
from edge_occ.output.outlets import Outlets
from edge_occ.runtime.summary import RunSummary
from edge_occ.sources.faults import Fault, Unscored
from edge_occ.sources.frame import Frame
from engines.base import Engine, Scores

_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

_NO_PICTURE = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Scored:
    """A frame on its way from the engine to the verdict.

    Attributes:
        frame: what was scored of it.
        size: height and width of the whole frame in pixels.
        outcome: its scores, or the reason why it has none.
        laps: times of its stages.
    """

    frame: Frame
    size: Size
    outcome: Scores | Unscored
    laps: Laps


class Inspector:
    """Scores frames one after another, in the thread that calls it.

    Args:
        engine: an engine that has passed the parity gate.
        threshold: gives the verdict for a score.
        tracker: turns verdicts into events.
        outlets: the sinks of the results.
        guards: check every frame before it is scored; ``None``: every frame is scored.
        view: the part of each frame that is inspected; boxes are in pixels of the whole frame.  ``None``: everything.
        trigger: picks the frames that are inspected; ``None``: all.
        on_skip: called for each frame that the trigger does not pick.
        latencies: where the times of its stages are recorded.
        clock: replaced in tests; the frames' ``captured_monotonic`` is on the same clock.

    Attributes:
        size: height and width in pixels of the latest whole frame with a verdict; ``None`` before the first.
    """

    def __init__(  # noqa: PLR0913 - what a frame meets on its way
        self,
        engine: Engine,
        threshold: ConformalThreshold,
        tracker: EventTracker,
        outlets: Outlets,
        guards: Guards | None = None,
        clock: Clock = SYSTEM_CLOCK,
        *,
        view: View | None = None,
        trigger: Trigger | None = None,
        on_skip: Callable[[], None] = lambda: None,
        latencies: Latencies | None = None,
    ) -> None:
        self._engine, self._threshold, self._tracker = engine, threshold, tracker
        self._outlets, self._guards, self._clock = outlets, guards, clock
        self._view, self._trigger, self._on_skip = view or View(), trigger, on_skip
        self._stages = latencies or Latencies()
        self._faults = FaultTally()
        self._frames = self._anomalous = self._for_review = self._events = 0
        self._begun = self._ended = 0.0
        self._verdict_ms = Histogram()
        self._last: Inspection | None = None
        self.size: Size | None = None

    def inspect(self, frame: Frame) -> Inspection | Fault:
        """Return the verdict of one frame, or a fault if a guard stops it or its score is not finite; call no sink."""
        return self._decide(self.score(frame))

    def score(self, frame: Frame) -> Scored:
        """Let one frame pass the guards and the engine; of a file, :attr:`parallel` threads may do so at a time."""
        now, laps, size = self._clock.monotonic, Laps(frame.captured_monotonic), np.shape(frame.image)[:2]
        laps.end(Stage.CAPTURE, frame.captured_monotonic if frame.ready_monotonic is None else frame.ready_monotonic)
        laps.end(Stage.WAIT, now())
        try:
            if self._view.roi is not None:
                frame = replace(frame, image=self._view.crop(frame.image))
            guarded = None if self._guards is None else self._guards.check(frame)
            if guarded is not None:
                return Scored(frame, size, guarded, laps)
            laps.end(Stage.PREPROCESS, now())
            scores = score_frame(self._engine, frame.image)
        except Unscored as error:
            return Scored(frame, size, error, laps)
        laps.end(Stage.ENGINE, now())
        return Scored(frame, size, scores, laps)

    def _decide(self, scored: Scored) -> Inspection | Fault:
        now, frame, scores, laps = self._clock.monotonic, scored.frame, scored.outcome, scored.laps
        if isinstance(scores, Unscored):
            laps.record(self._stages)
            return Fault(frame.index, frame.captured_at, scores, frame.name)
        laps.resume(now())
        try:
            scores = self._view.limit(scores, scored.size)
            verdict = self._threshold.verdict(scores.score)
            boxes = self._view.boxes(scores.map, verdict.threshold, frame.image.shape) if verdict.anomalous else ()
        except Exception as error:  # noqa: BLE001 - a map without valid boxes is a fault of the engine
            laps.record(self._stages)
            return Fault(frame.index, frame.captured_at, unscored(error), frame.name)
        change, self.size = self._tracker.step(verdict, frame.captured_monotonic), scored.size
        decided = now()
        laps.end(Stage.DECIDE, decided)
        laps.record(self._stages)
        return Inspection(frame, scores, verdict, boxes, change, (decided - frame.captured_monotonic) * 1e3)

    @property
    def parallel(self) -> int:
        """Number of frames of a file that it can score at the same time; 1 where a trigger picks the frames."""
        return 1 if self._trigger is not None else self._engine.parallel

    @property
    def frames(self) -> int:
        """Frames scored so far."""
        return self._frames

    def take(self, item: Frame | Scored | Fault) -> None:
        """Inspect the next frame of the source, or take its scores or its fault, and pass the result to the outlets.

        Raises:
            UserError: too many frames in a row had no score, see :class:`~edge_occ.inspection.scoring.FaultTally`.
        """
        if isinstance(item, Frame) and not self._picks(item):
            self._on_skip()
            return
        frame = item.frame if isinstance(item, Scored) else item
        if isinstance(frame, Frame) and self._tracker.is_new_part(frame.captured_monotonic):
            self.finish()
        scored = self.score(item) if isinstance(item, Frame) else item
        result = self._decide(scored) if isinstance(scored, Scored) else scored
        if isinstance(result, Fault):
            self._outlets.fault(result)
            self._faults.add(result.cause)
        else:
            self._count(result)
            self._outlets.publish(result)

    def use(
        self,
        engine: Engine,
        threshold: ConformalThreshold,
        guards: Guards | None,
        view: View | None = None,
        tracker: EventTracker | None = None,
    ) -> None:
        """Go on with another engine, threshold, guards and view; the open event, if any, goes on, too.

        With another ``tracker`` the open event ends.
        """
        if tracker is not None:
            self.finish()
            self._tracker = tracker
        self._view = view or View()
        if guards is not None and self._guards is not None:
            guards.go_on_from(self._guards)
        self._engine, self._threshold, self._guards = engine, threshold, guards

    def decide(self, threshold: ConformalThreshold) -> None:
        """Go on with another threshold; the open event, if any, goes on, too."""
        self._threshold = threshold

    def finish(self) -> bool:
        """End the open event because there are no more frames, of the source or of a part.

        Returns:
            Whether there was one.
        """
        change = self._tracker.finish()
        if change is None or self._last is None:
            return False
        self._outlets.finish(replace(self._last, event=change))
        return True

    def require_scores(self) -> None:
        """Raise an error at the end of a run if there were frames, but none with a score.

        Raises:
            UserError: as :meth:`take`.
        """
        self._faults.check(self._frames)

    def counts(self) -> Snapshot:
        """Return the counts so far, without what others measure; from any thread."""
        faults = {reason.value: count for reason, count in dict(self._faults.counts).items()}
        return Snapshot(self._frames, self._anomalous, self._for_review, self._events, faults=faults)

    def summary(self, dropped: int) -> RunSummary:
        """Return the figures so far.

        Args:
            dropped: frames dropped by the source.
        """
        faults = {reason.value: count for reason, count in self._faults.counts.items()}
        seconds, latest = self._ended - self._begun, self._verdict_ms.read()
        quantiles = {name: latest.quantile(q) for name, q in _QUANTILES.items()}
        verdict_ms = {name: round(value, 2) for name, value in quantiles.items() if value is not None}
        counts = (self._frames, dropped, self._anomalous, self._events)
        return RunSummary(*counts, seconds, verdict_ms, faults, dict(self._outlets.lost), self._for_review)

    def _picks(self, frame: Frame) -> bool:
        """Return whether a frame is inspected; one that the trigger cannot look at is, as the fault that it is."""
        try:
            return self._trigger is None or self._trigger.fires(frame.image)
        except Unscored:
            return True

    def _count(self, inspection: Inspection) -> None:
        self._last = replace(inspection, frame=replace(inspection.frame, image=_NO_PICTURE))
        self._ended = self._clock.monotonic()
        if self._frames == 0:
            self._begun = inspection.frame.captured_monotonic
        self._frames += 1
        self._anomalous += inspection.verdict.anomalous
        self._for_review += inspection.verdict.name == "review"
        self._events += inspection.event is not None and inspection.event.phase is Phase.START
        self._verdict_ms.record(inspection.verdict_ms)
        self._faults.scored()

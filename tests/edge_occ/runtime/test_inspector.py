"""The inspection of one camera, with fakes at its seams."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inspector_helpers import FakeEngine, ListSource, inspect, inspect_all

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.clock import ManualClock
from edge_occ.common.drawn_region import DrawnRegion, Polygons
from edge_occ.common.errors import SourceLost
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.inspection.mask import Mask
from edge_occ.inspection.metrics import RELATIVE_ERROR, Latencies, Stage
from edge_occ.inspection.roi import Roi
from edge_occ.inspection.snapshot import Snapshot
from edge_occ.inspection.trigger import EdgeTrigger
from edge_occ.inspection.view import View
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink
from edge_occ.runtime.inspector import Inspector
from edge_occ.sources.faults import Reason
from edge_occ.sources.frame import Frame
from engines.base import Scores


def test_every_frame_is_scored_judged_and_published():
    summary, sink = inspect([3, 50, 60, 10, 4])
    assert [i.verdict.score for i in sink.inspections] == [3, 50, 60, 10, 4]
    assert [i.verdict.anomalous for i in sink.inspections] == [False, True, True, False, False]
    phases = [i.event.phase if i.event else None for i in sink.inspections]
    assert phases == [None, Phase.START, Phase.UPDATE, Phase.END, None]
    assert (summary.frames, summary.anomalous, summary.events, summary.dropped) == (5, 2, 1, 3)


def test_boxes_are_given_for_anomalous_frames_only():
    _, sink = inspect([3, 50])
    assert sink.inspections[0].boxes == ()
    (box,) = sink.inspections[1].boxes
    assert (box.x, box.y, box.width, box.height, box.peak) == (12, 8, 2, 2, 50)


def test_an_event_under_way_ends_with_the_stream():
    _, sink = inspect([3, 50])
    (last,) = sink.finished
    assert last.event.phase is Phase.END
    assert last.event.id == sink.inspections[1].event.id
    assert last.frame.index == sink.inspections[1].frame.index
    assert last.frame.image.size == 0
    _, sink = inspect([3, 50, 3])
    assert sink.finished == []


def test_an_event_ends_with_its_part():
    """Frames come every 2 seconds; a gap of 1 second makes each a part of its own."""
    for gap, phases in ((1, [Phase.START, Phase.START, None]), (3, [Phase.START, Phase.UPDATE, Phase.END])):
        sink = MemorySink()
        tracker = EventTracker(part_gap=gap)
        inspector = Inspector(FakeEngine(), ConformalThreshold([1.0], 10.0), tracker, Outlets([sink]))
        with ListSource([50, 60, 3]) as source:
            summary = inspect_all(inspector, source)
        assert [i.event.phase if i.event else None for i in sink.inspections] == phases
        ends = [(i.frame.index, i.event.id) for i in sink.finished]
        assert ends == ([(i.frame.index, i.event.id) for i in sink.inspections[:2]] if gap == 1 else [])
        assert summary.events == phases.count(Phase.START)


def test_an_event_lasts_from_its_first_capture_to_its_latest():
    _, sink = inspect([50, 3, 50, 60])
    assert [i.event.seconds for i in sink.inspections if i.event] == [0, 2, 0, 2]


def test_frames_for_review_are_counted_apart():
    threshold = ConformalThreshold([1.0, 2.0, 10.0], 10.0, review_threshold=2.0)
    sink = MemorySink()
    inspector = Inspector(FakeEngine(), threshold, EventTracker(), Outlets([sink]))
    with ListSource([1, 2, 3, 10, 11]) as source:
        summary = inspect_all(inspector, source)
    assert [i.verdict.name for i in sink.inspections] == ["normal", "normal", "review", "review", "anomalous"]
    assert (summary.anomalous, summary.for_review) == (1, 2)
    assert "1 anomalous, 2 for review, 1 events" in summary.lines()[0]
    assert all(i.boxes == () for i in sink.inspections[:4])


def test_it_stops_after_as_many_frames_as_asked():
    summary, sink = inspect([1] * 10, max_frames=4)
    assert summary.frames == len(sink.inspections) == 4


def test_a_lost_source_ends_the_event_first():
    sink = MemorySink()
    inspector = Inspector(FakeEngine(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets([sink]))
    with pytest.raises(SourceLost), ListSource([50], SourceLost("a camera", "none", "plug it in")) as source:
        inspect_all(inspector, source)
    assert sink.finished[0].event.phase is Phase.END


def test_an_event_is_counted_when_it_starts_whatever_its_number_of_frames():
    class CountsBack(EventTracker):
        """Counts the frames of an event from the first anomalous one, not from the one at which it was raised."""

        def step(self, verdict, captured=0.0):
            change = super().step(verdict, captured)
            return change and replace(change, frames=change.frames + 1)

    inspector = Inspector(FakeEngine(), ConformalThreshold([1.0], 10.0), CountsBack(2, 3), Outlets())
    with ListSource([50, 50, 60, 1, 1, 1, 50, 1, 1, 50, 50]) as source:
        assert inspect_all(inspector, source).events == 2


def test_the_times_are_those_from_capture_to_verdict():
    clock, sink = ManualClock(), MemorySink()

    class Timed(FakeEngine):
        """Takes as many milliseconds as the score says."""

        def infer(self, frame):
            clock.advance(float(frame[0, 0, 0]) / 1e3)
            return super().infer(frame)

    threshold = ConformalThreshold([1.0], 200.0)
    inspector = Inspector(Timed(), threshold, EventTracker(), Outlets([sink]), clock=clock)
    summary = inspect_all(inspector, ListSource([30, 10, 20], clock=clock))
    assert [i.verdict_ms for i in sink.inspections] == pytest.approx([30, 10, 20])
    assert summary.verdict_ms == pytest.approx({"p50": 20, "p95": 30, "p99": 30}, rel=RELATIVE_ERROR)
    # From the first capture to the last verdict there are 2 pauses of 2 s and 60 ms of the engine.
    assert summary.seconds == pytest.approx(4.06)
    assert summary.fps == pytest.approx(3 / 4.06)


def test_a_region_of_interest_is_all_that_is_inspected_and_boxes_are_in_the_frame():
    seen = []

    class Looks(FakeEngine):
        def infer(self, frame):
            seen.append(frame.shape)
            return super().infer(frame)

    sink = MemorySink()
    threshold = ConformalThreshold([1.0], 10.0)
    inspector = Inspector(Looks(), threshold, EventTracker(), Outlets([sink]), view=View(Roi(10, 4, 15, 10)))
    with ListSource([50]) as source:
        inspect_all(inspector, source)
    assert seen == [(10, 15, 3)]
    (inspection,) = sink.inspections
    assert inspection.frame.image.shape == (10, 15, 3)
    (box,) = inspection.boxes
    assert (box.x, box.y, box.width, box.height) == (16, 8, 1, 1)


def test_what_lies_outside_a_mask_makes_no_frame_anomalous_and_has_no_box():
    """The engine's highest value lies at (12, 8) of the frame, 2 pixels wide and high."""
    for ignored, verdict in (((12, 8, 13, 9), "normal"), ((0, 0, 11, 19), "anomalous")):
        left, top, right, bottom = ignored
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        mask = Mask(DrawnRegion(Path("mask.json"), (20, 30), Polygons(ignore=(corners,))))
        sink = MemorySink()
        threshold = ConformalThreshold([1.0], 10.0)
        inspector = Inspector(FakeEngine(), threshold, EventTracker(), Outlets([sink]), view=View(mask=mask))
        with ListSource([50, 60]) as source:
            summary = inspect_all(inspector, source)
        assert [i.verdict.name for i in sink.inspections] == [verdict] * 2
        assert [i.scores.score for i in sink.inspections] == ([0, 0] if verdict == "normal" else [50, 60])
        assert [len(i.boxes) for i in sink.inspections] == [verdict == "anomalous"] * 2
        assert summary.events == (verdict == "anomalous")
        assert inspector.size == (20, 30)


def test_only_frames_that_the_trigger_picks_are_inspected_and_the_others_are_signs_of_life():
    sink, skipped = MemorySink(), []
    inspector = Inspector(
        FakeEngine(),
        ConformalThreshold([1.0], 100.0),
        EventTracker(),
        Outlets([sink]),
        trigger=EdgeTrigger(Roi(0, 0, 5, 5), 10, 40),
        on_skip=lambda: skipped.append(True),
    )
    with ListSource([1, 50, 60, 1, 1, 70]) as source:
        summary = inspect_all(inspector, source)
    assert [i.frame.index for i in sink.inspections] == [1, 5]
    assert (summary.frames, len(skipped)) == (2, 4)


def test_another_engine_threshold_and_guards_are_used_from_the_next_frame_on():
    class Doubled(FakeEngine):
        def infer(self, frame):
            scores = super().infer(frame)
            return Scores(2 * scores.score, 2 * scores.map)

    sink = MemorySink()
    inspector = Inspector(FakeEngine(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets([sink]))
    frames = list(ListSource([50, 50, 50]).items())
    inspector.take(frames[0])
    inspector.use(Doubled(), ConformalThreshold([1.0], 200.0), None)
    inspector.take(frames[1])
    assert [(i.scores.score, i.verdict.threshold, i.verdict.anomalous) for i in sink.inspections] == [
        (50, 10, True),
        (100, 200, False),
    ]
    assert [i.event.phase for i in sink.inspections] == [Phase.START, Phase.END], "the event went on"


def test_each_stage_has_its_time_and_their_sum_is_that_of_the_verdict():
    clock, latencies = ManualClock(), Latencies()

    class Slow(FakeEngine):
        def infer(self, frame):
            clock.advance(0.02)
            return super().infer(frame)

    class SlowGuards(Guards):
        def check(self, frame):
            clock.advance(0.004)
            return super().check(frame)

    class SlowTracker(EventTracker):
        def step(self, verdict, captured=0.0):
            clock.advance(0.001)
            return super().step(verdict, captured)

    guards = SlowGuards(GuardsConfig(uniform=False))
    inspector = Inspector(
        Slow(), ConformalThreshold([1.0], 200.0), SlowTracker(), Outlets(), guards, clock, latencies=latencies
    )
    begun = clock.monotonic()
    taken = Frame(0, clock.now(), begun - 0.1, np.full((20, 30, 3), 7, np.uint8), ready_monotonic=begun - 0.07)
    result = inspector.inspect(taken)
    times = {stage: read.sum_ms for stage, read in latencies.read().items() if sum(read.counts)}
    expected = {Stage.CAPTURE: 30, Stage.WAIT: 70, Stage.PREPROCESS: 4, Stage.ENGINE: 20, Stage.DECIDE: 1}
    assert times == pytest.approx(expected)
    assert result.verdict_ms == pytest.approx(sum(times.values()))


def test_a_frame_that_a_guard_stops_has_no_time_in_the_engine():
    latencies, sink = Latencies(), MemorySink()
    guards = Guards(GuardsConfig())
    inspector = Inspector(
        FakeEngine(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets([sink]), guards, latencies=latencies
    )
    with ListSource([3, 4]) as source:
        inspect_all(inspector, source)
    counts = {stage: sum(read.counts) for stage, read in latencies.read().items()}
    assert [fault.reason for fault in sink.faults] == [Reason.UNIFORM] * 2
    assert (counts.pop(Stage.CAPTURE), counts.pop(Stage.WAIT), set(counts.values())) == (2, 2, {0})
    assert inspector.counts().faults == {"uniform": 2}


def test_counts_can_be_read_at_any_time():
    inspector = Inspector(
        FakeEngine(), ConformalThreshold([1.0], 10.0, review_threshold=5.0), EventTracker(), Outlets()
    )
    assert inspector.counts() == Snapshot()
    with ListSource([3, 50, 6]) as source:
        inspect_all(inspector, source)
    assert inspector.counts() == Snapshot(frames=3, anomalous=1, for_review=1, events=1)

"""The inspection loop, with fakes at its seams."""

import json
from dataclasses import replace

import numpy as np
import pytest
from fakes.engine import PartialEngine
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import render

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.clock import ManualClock
from edge_occ.common.errors import EngineUnavailable, SourceLost, UserError
from edge_occ.inspection.events import EventTracker, Phase
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.inspection.metrics import Latencies, Stage
from edge_occ.inspection.roi import Roi
from edge_occ.inspection.scoring import MAX_CONSECUTIVE_FAULTS
from edge_occ.inspection.snapshot import Snapshot
from edge_occ.inspection.trigger import EdgeTrigger
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.store import EvidenceStore
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.scheduler import Lane, Scheduler
from edge_occ.sources.faults import Fault, Reason, Unscored
from edge_occ.sources.frame import Frame
from engines.base import Scores


class ListSource:
    """Frames whose first pixel is the score they shall get; one is captured every 2 seconds of the clock."""

    live = False
    dropped = 3

    def __init__(self, scores, error=None, clock=None):
        self.scores, self.error, self.closed, self.clock = scores, error, False, clock or ManualClock()
        self.playing, self.ended = None, False

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.closed = True

    def notify(self, callback):
        pass

    def poll(self):
        if not self.closed:
            self.playing = self.playing or self.items()
            if (item := next(self.playing, None)) is not None:
                return item
            self.ended = True
            if self.error:
                raise self.error
        return None

    def items(self):
        for index, score in enumerate(self.scores):
            image = np.full((20, 30, 3), score, np.uint8)
            yield Frame(index, self.clock.now(), self.clock.monotonic(), image)
            self.clock.advance(2)


class FakeEngine(PartialEngine):
    def infer(self, frame):
        score_map = np.zeros((10, 15), np.float32)
        score_map[4, 6] = frame[0, 0, 0]
        return Scores(float(score_map.max()), score_map)


def inspect_all(inspector, source, **options):
    Scheduler([Lane("", source, inspector)]).run(**options)
    return inspector.summary(source.dropped)


def inspect(scores, error=None, **options):
    sink = MemorySink()
    inspector = Inspector(FakeEngine(), ConformalThreshold([1.0, 2.0, 10.0], 10.0), EventTracker(), Outlets([sink]))
    with ListSource(scores, error) as source:
        summary = inspect_all(inspector, source, **options)
    return summary, sink


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


class FlakyEngine(FakeEngine):
    """Fails at frames of these values: raises, gives NaN, or a map with NaN in it."""

    def __init__(self, raises=(), nan=(), nan_map=()):
        self.raises, self.nan, self.nan_map = raises, nan, nan_map

    def infer(self, frame):
        value = int(frame[0, 0, 0])
        if value in self.raises:
            raise RuntimeError(f"CUDA error\n  at frame {value}")
        scores = super().infer(frame)
        if value in self.nan_map:
            scores.map[0, 0] = np.nan
        return Scores(float("nan"), scores.map) if value in self.nan else scores


def run(engine, source, **options):
    """The sink, the summary so far, and the error that the run ended with."""
    sink = MemorySink()
    inspector = Inspector(engine, ConformalThreshold([1.0, 2.0, 10.0], 10.0), EventTracker(), Outlets([sink]))
    error = None
    try:
        with source:
            inspect_all(inspector, source, **options)
    except UserError as caught:
        error = caught
    return sink, inspector.summary(source.dropped), error


def test_a_frame_that_cannot_be_scored_is_skipped_counted_and_passed_on():
    engine = FlakyEngine(raises={2}, nan={3}, nan_map={5})
    sink, summary, error = run(engine, ListSource([1, 2, 3, 4, 5, 50]))
    assert error is None
    assert [i.frame.index for i in sink.inspections] == [0, 3, 5]
    assert [(f.index, f.reason) for f in sink.faults] == [(1, Reason.ENGINE), (2, Reason.SCORE), (4, Reason.SCORE)]
    assert sink.faults[0].detail == "RuntimeError: CUDA error at frame 2"
    assert (summary.frames, summary.anomalous, summary.events) == (3, 1, 1)
    assert summary.faults == {"engine": 1, "score": 2}
    assert sink.finished, "the event under way has its end"


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30), np.uint8),
        np.zeros((20, 30, 4), np.uint8),
        np.zeros((20, 30, 3), np.uint16),
        np.zeros((0, 30, 3), np.uint8),
        None,
    ],
)
def test_a_frame_of_impossible_shape_never_reaches_the_engine(image):
    class Misshapen(ListSource):
        def items(self):
            for frame in super().items():
                yield replace(frame, image=image) if frame.index == 1 else frame

    sink, summary, error = run(FakeEngine(), Misshapen([1, 2, 3]))
    assert error is None
    assert summary.faults == {"frame": 1}
    assert [i.frame.index for i in sink.inspections] == [0, 2]


def test_a_map_that_makes_no_boxes_is_a_fault_too():
    class Flat(FakeEngine):
        def infer(self, frame):
            return Scores(50.0, np.zeros((2, 2, 2), np.float32))

    _, summary, error = run(Flat(), ListSource([1]))
    assert summary.faults == {"engine": 1}
    assert isinstance(error, EngineUnavailable)


@given(st.lists(st.booleans(), max_size=60))
def test_a_run_ends_at_the_tenth_failure_in_a_row_and_not_before(fails):
    engine = FlakyEngine(raises={2})
    _, summary, error = run(engine, ListSource([2 if fail else 1 for fail in fails]))
    text = "".join("x" if fail else "." for fail in fails)
    end = text.find("x" * MAX_CONSECUTIVE_FAULTS)
    done = text if end < 0 else text[: end + MAX_CONSECUTIVE_FAULTS]
    assert (summary.frames, summary.faults.get("engine", 0)) == (done.count("."), done.count("x"))
    assert (error is not None) == (end >= 0 or (bool(text) and "." not in text))


def test_the_error_at_the_end_gives_the_last_fault():
    _, _, error = run(FlakyEngine(raises={2}), ListSource([1, *[2] * 20]))
    assert (error.exit_code, error.found) == (
        4,
        "none for 10 frames in a row; the last: RuntimeError: CUDA error at frame 2",
    )
    _, _, error = run(FlakyEngine(nan={2}), ListSource([2, 2]))
    assert (error.exit_code, error.expected) == (4, "a finite score")

    class TooLarge(FakeEngine):
        def infer(self, frame):
            raise EngineUnavailable("frames of at most 10x10", "20x30", "set engine.max_frame")

    _, _, error = run(TooLarge(), ListSource([1]))
    assert error.advice == "set engine.max_frame"


def test_unreadable_pictures_are_counted_and_never_end_a_run():
    class Unreadable(ListSource):
        def items(self):
            for frame in super().items():
                yield frame
                for _ in range(50):
                    yield Fault(frame.index, frame.captured_at, Unscored(Reason.UNREADABLE, "damaged"), "a.png")

    sink, summary, error = run(FakeEngine(), Unreadable([1, 2]))
    assert error is None
    assert summary.faults == {"unreadable": 100}
    assert len(sink.faults) == 100
    assert summary.frames == 2


class FailingSink(MemorySink):
    name = "log"

    def publish(self, inspection):
        raise OSError(28, "No space left on device")

    fault = finish = publish


def test_a_sink_that_raises_is_logged_once_and_counted_and_stops_nothing(caplog):
    before, after = MemorySink(), MemorySink()
    engine = FlakyEngine(raises={2})
    outlets = Outlets([before, FailingSink(), after])
    inspector = Inspector(engine, ConformalThreshold([1.0], 10.0), EventTracker(), outlets)
    with ListSource([1, 2, 3, 50]) as source:
        summary = inspect_all(inspector, source)
    for sink in (before, after):
        assert [i.frame.index for i in sink.inspections] == [0, 2, 3]
        assert len(sink.faults) == len(sink.finished) == 1
    assert summary.lost == outlets.lost == {"log": 5}
    (record,) = caplog.records
    assert record.message == "log failed, inspection goes on: OSError: [Errno 28] No space left on device"


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
    assert summary.verdict_ms == pytest.approx({"p50": 20, "p95": 29, "p99": 29.8})
    # From the first capture to the last verdict there are 2 pauses of 2 s and 60 ms of the engine.
    assert summary.seconds == pytest.approx(4.06)
    assert summary.fps == pytest.approx(3 / 4.06)


def test_no_frames_is_no_error():
    summary, sink = inspect([])
    assert summary.frames == 0
    assert summary.fps == 0
    assert summary.verdict_ms == {}
    assert not sink.inspections


def test_guarded_frames_are_faults_that_reach_no_engine_and_end_no_run():
    """Black frames of a camera that is covered for a while: any number of them, then it goes on."""

    class Never(FakeEngine):
        def infer(self, frame):
            assert frame.any()
            return super().infer(frame)

    class Textured(ListSource):
        def items(self):
            for frame in super().items():
                image = frame.image.copy()
                image[1:] += np.arange(19, dtype=np.uint8)[:, None, None] * (image[1:] > 0)
                yield replace(frame, image=image)

    sink = MemorySink()
    guards = Guards(GuardsConfig())
    inspector = Inspector(Never(), ConformalThreshold([1.0, 10.0], 10.0), EventTracker(), Outlets([sink]), guards)
    with Textured([50, *[0] * 3 * MAX_CONSECUTIVE_FAULTS, 60]) as source:
        summary = inspect_all(inspector, source)
    assert (summary.frames, summary.anomalous, summary.events) == (2, 2, 1)
    assert summary.faults == {"uniform": 3 * MAX_CONSECUTIVE_FAULTS}
    assert [fault.index for fault in sink.faults] == list(range(1, 3 * MAX_CONSECUTIVE_FAULTS + 1))
    alone = Inspector(Never(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets(), Guards(GuardsConfig()))
    with ListSource([0] * 20) as source:
        assert inspect_all(alone, source).faults == {"uniform": 20}


class NanEngine(PartialEngine):
    """Its map, or its score, is not finite for every second frame; the others are anomalous."""

    def infer(self, frame):
        score_map = np.full((10, 15), 50, np.float32)
        if frame[0, 0, 0] % 2:
            score_map[0, 0] = np.nan
        return Scores(float("nan") if frame[0, 0, 0] % 4 == 1 else 50.0, score_map)


def test_frames_without_a_finite_score_are_no_evidence(tmp_path):
    source = ListSource([1, 2, 3, 4, 5])
    with source, EvidenceStore(tmp_path, EvidenceConfig(), Origin(), render, clock=source.clock) as kept:
        threshold = ConformalThreshold([1.0, 2.0, 10.0], 10.0)
        inspect_all(Inspector(NanEngine(), threshold, EventTracker(), Outlets([kept])), source)
    records = [json.loads(path.read_bytes()) for path in sorted(tmp_path.rglob("*.json"))]
    assert [(record["phase"], record["frame"]) for record in records] == [("end", 3), ("start", 1)]
    assert kept.lost == 0


def test_a_region_of_interest_is_all_that_is_inspected_and_boxes_are_in_the_frame():
    seen = []

    class Looks(FakeEngine):
        def infer(self, frame):
            seen.append(frame.shape)
            return super().infer(frame)

    sink = MemorySink()
    threshold = ConformalThreshold([1.0], 10.0)
    inspector = Inspector(Looks(), threshold, EventTracker(), Outlets([sink]), roi=Roi(10, 4, 15, 10))
    with ListSource([50]) as source:
        inspect_all(inspector, source)
    assert seen == [(10, 15, 3)]
    (inspection,) = sink.inspections
    assert inspection.frame.image.shape == (10, 15, 3)
    (box,) = inspection.boxes
    assert (box.x, box.y, box.width, box.height) == (16, 8, 1, 1)


def test_a_frame_without_the_region_of_interest_is_a_fault():
    sink = MemorySink()
    inspector = Inspector(
        FakeEngine(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets([sink]), roi=Roi(20, 0, 11, 5)
    )
    with ListSource([50]) as source, pytest.raises(SourceLost, match="region of interest"):
        inspect_all(inspector, source)
    assert [fault.reason for fault in sink.faults] == [Reason.FRAME]


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
    taken = Frame(0, clock.now(), clock.monotonic() - 0.1, np.full((20, 30, 3), 7, np.uint8))
    result = inspector.inspect(taken)
    times = {stage: read.sum_ms for stage, read in latencies.read().items() if sum(read.counts)}
    expected = {Stage.WAIT: 100, Stage.PREPROCESS: 4, Stage.ENGINE: 20, Stage.DECIDE: 1}
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
    assert (counts.pop(Stage.WAIT), set(counts.values())) == (2, {0})
    assert inspector.counts().faults == {"uniform": 2}


def test_counts_can_be_read_at_any_time():
    inspector = Inspector(
        FakeEngine(), ConformalThreshold([1.0], 10.0, review_threshold=5.0), EventTracker(), Outlets()
    )
    assert inspector.counts() == Snapshot()
    with ListSource([3, 50, 6]) as source:
        inspect_all(inspector, source)
    assert inspector.counts() == Snapshot(frames=3, anomalous=1, for_review=1, events=1)

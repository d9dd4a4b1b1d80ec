"""Frames of one source on their way to its inspector."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import numpy as np
import pytest
from fakes.engine import PartialEngine
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.errors import SourceLost
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.trigger import CommandTrigger
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink
from edge_occ.runtime.control import Control
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.lookahead import Lookahead
from edge_occ.runtime.scheduler import Lane, Scheduler
from edge_occ.sources.fake import FakeSource, Pause
from edge_occ.sources.faults import Reason, Unscored
from engines.base import Scores

LOST = SourceLost("frames from a file", "none", "copy it again")
DAMAGED = Unscored(Reason.UNREADABLE, "damaged")
SECONDS = 10.0


class Parallel(PartialEngine):
    """Scores a frame by its first pixel; of ``parallel`` frames, the first ends only when the others have begun."""

    def __init__(self, parallel: int, *, together: bool = False) -> None:
        self.parallel, self.threads = parallel, set()
        self._meeting = threading.Barrier(parallel) if together else None
        self.inside, self.closed = 0, False

    def infer(self, frame):
        assert not self.closed, "scored by an engine that is closed"
        self.threads.add(threading.get_ident())
        self.inside += 1
        if self._meeting is not None:
            self._meeting.wait(SECONDS)
        self.inside -= 1
        return Scores(float(frame[0, 0, 0]), np.zeros((4, 6), np.float32))

    def close(self):
        assert self.inside == 0, "closed while it scores a frame"
        self.closed = True


def frame(value: int):
    return np.full((4, 6, 3), value, np.uint8)


def inspector_of(engine, sink, trigger=None) -> Inspector:
    return Inspector(engine, ConformalThreshold([1.0], 100.0), EventTracker(), Outlets([sink]), trigger=trigger)


def run(source, inspector, control=None, max_frames=None):
    with source:
        Scheduler([Lane("", source, inspector)], control).run(max_frames)


def test_frames_of_a_file_are_scored_at_the_same_time():
    engine, sink = Parallel(3, together=True), MemorySink()
    run(FakeSource([frame(i) for i in range(9)]), inspector_of(engine, sink))
    assert [i.scores.score for i in sink.inspections] == list(range(9))
    assert len(engine.threads) == 3
    assert threading.get_ident() not in engine.threads


@given(st.lists(st.sampled_from([1, 2, 200, 201, DAMAGED]), min_size=1, max_size=12), st.integers(1, 4))
def test_results_are_those_of_one_frame_after_the_other(script, parallel):
    def results(engine):
        sink = MemorySink()
        steps = [step if step is DAMAGED else frame(step) for step in [3, *script]]
        run(FakeSource(steps), inspector_of(engine, sink))
        verdicts = [(i.frame.index, i.scores.score, i.event and i.event.phase) for i in sink.inspections]
        return verdicts, [f.index for f in sink.faults], len(sink.finished)

    assert results(Parallel(parallel)) == results(Parallel(1))


@pytest.mark.parametrize("live", [True, False], ids=["live", "triggered"])
def test_a_camera_s_frames_are_scored_one_by_one_in_the_thread_that_inspects(live):
    engine, sink = Parallel(3), MemorySink()
    trigger = None if live else CommandTrigger()
    if trigger is not None:
        trigger.request()
    run(FakeSource([frame(i) for i in range(5)], live=live), inspector_of(engine, sink, trigger))
    assert engine.threads == {threading.get_ident()}
    assert len(sink.inspections) == (5 if live else 1)


def test_a_source_that_is_lost_is_the_error_after_its_last_frame():
    engine, sink = Parallel(4), MemorySink()
    with pytest.raises(SourceLost) as caught:
        run(FakeSource([frame(1), frame(2), LOST]), inspector_of(engine, sink))
    assert caught.value is LOST
    assert [i.scores.score for i in sink.inspections] == [1, 2]


def test_a_pause_of_the_source_keeps_no_frame_waiting():
    engine, sink = Parallel(4), MemorySink()
    source = FakeSource([frame(1), Pause(0.2), frame(2)])
    ahead = Lookahead(source, inspector_of(engine, sink))
    with source:
        assert ahead.advance(begin=True)
        assert [i.scores.score for i in sink.inspections] == [1]
        assert not ahead.ended
        assert not ahead.advance(begin=True)
    ahead.close()


def test_an_engine_is_exchanged_while_no_frame_is_scored_and_each_frame_has_the_threshold_of_its_engine():
    control, sink = Control(), MemorySink()
    first, second = Parallel(3), Parallel(3)
    inspector = inspector_of(first, sink)
    done = []

    def exchange():
        inspector.use(second, ConformalThreshold([1.0], 5.0), None)
        first.close()
        done.append(len(sink.inspections))

    def frames():
        for index in range(30):
            if index == 10:
                control.submit(exchange)
            yield frame(10)

    run(FakeSource(frames()), inspector, control)
    (at,) = done
    assert 7 <= at <= 12
    assert [i.verdict.threshold for i in sink.inspections] == [100.0] * at + [5.0] * (30 - at)


def test_the_wait_for_scores_counts_as_inspection():
    """The watchdog must see an engine that hangs, though the thread that inspects only waits for it."""
    engine, sink = Parallel(2), MemorySink()
    inside = []

    class Looks(Parallel):
        def infer(self, frame):
            inside.append(inspecting.is_set() or inspecting.wait(SECONDS))
            return super().infer(frame)

    inspecting = threading.Event()

    @contextmanager
    def context():
        inspecting.set()
        yield
        inspecting.clear()

    engine = Looks(2)
    source = FakeSource([frame(1)])
    ahead = Lookahead(source, inspector_of(engine, sink))
    with source:
        assert ahead.advance(context, begin=True)
    ahead.close()
    assert inside == [True]


def test_the_run_ends_at_its_number_of_frames_with_none_under_way():
    engine, sink = Parallel(3), MemorySink()
    run(FakeSource([frame(1)] * 20), inspector_of(engine, sink), max_frames=4)
    assert len(sink.inspections) == 4
    assert engine.inside == 0

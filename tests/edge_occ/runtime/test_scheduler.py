"""Several cameras through one engine."""

from __future__ import annotations

import math
import threading
from contextlib import nullcontext
from itertools import repeat

import numpy as np
import pytest
from fakes.engine import PartialEngine

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.clock import ManualClock
from edge_occ.common.errors import EngineUnavailable, SourceLost
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink
from edge_occ.runtime.control import Control
from edge_occ.runtime.heartbeat import Heartbeat
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.scheduler import Lane, Scheduler
from edge_occ.sources.fake import FakeSource, Pause
from engines.base import Scores

LOST = SourceLost("frames from a camera", "none", "check its cable")
LONG = 10.0


class OneThread(PartialEngine):
    """Scores a frame by its first pixel, and remembers who asked, in order."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.thread = threading.get_ident()

    def infer(self, frame):
        assert threading.get_ident() == self.thread, "an engine belongs to the thread that opened it"
        self.asked.append(int(frame[0, 0, 0]))
        if frame[0, 0, 0] == 255:
            raise RuntimeError("out of memory")
        return Scores(float(frame[0, 0, 0]), np.zeros((4, 6), np.float32))


def frame(value: int):
    return np.full((4, 6, 3), value, np.uint8)


def inspector_of(engine: OneThread, sinks, guards: Guards | None = None) -> Inspector:
    return Inspector(engine, ConformalThreshold([1.0], 100.0), EventTracker(), Outlets(sinks), guards)


def lane(name: str, engine: OneThread, source: FakeSource) -> tuple[Lane, MemorySink]:
    sink = MemorySink()
    return Lane(name, source, inspector_of(engine, [sink])), sink


def run(lanes, control=None, max_frames=None):
    for each in lanes:
        each.source.__enter__()
    try:
        Scheduler(lanes, control).run(max_frames)
    finally:
        for each in lanes:
            each.source.__exit__(None, None, None)


def test_cameras_are_served_in_turn():
    engine = OneThread()
    left, left_sink = lane("left", engine, FakeSource([frame(1)] * 3))
    right, right_sink = lane("right", engine, FakeSource([frame(2)] * 5))
    run([left, right])
    assert engine.asked == [1, 2, 1, 2, 1, 2, 2, 2]
    assert [len(left_sink.inspections), len(right_sink.inspections)] == [3, 5]
    assert [i.frame.index for i in right_sink.inspections] == list(range(5))


def test_a_camera_that_pauses_keeps_no_other_waiting():
    engine = OneThread()
    slow, slow_sink = lane("slow", engine, FakeSource([frame(1), Pause(0.3), frame(1)]))
    fast, fast_sink = lane("fast", engine, FakeSource([frame(2)] * 50))
    run([slow, fast])
    assert engine.asked[-1] == 1
    assert (len(slow_sink.inspections), len(fast_sink.inspections)) == (2, 50)


def test_events_of_cameras_are_apart():
    engine = OneThread()
    left, left_sink = lane("left", engine, FakeSource([frame(200), frame(1)]))
    right, right_sink = lane("right", engine, FakeSource([frame(1), frame(200)]))
    run([left, right])
    assert [bool(i.event) for i in left_sink.inspections] == [True, True]
    assert [bool(i.event) for i in right_sink.inspections] == [False, True]
    assert left_sink.inspections[0].event.id != right_sink.inspections[1].event.id
    assert len(right_sink.finished) == 1, "the open event ends with the run"


def test_a_camera_that_is_lost_stops_no_other_and_is_the_error_at_the_end(caplog):
    engine = OneThread()
    lost, lost_sink = lane("left", engine, FakeSource([frame(200), LOST]))
    other, other_sink = lane("right", engine, FakeSource([frame(2)] * 9))
    with pytest.raises(SourceLost) as caught:
        run([lost, other])
    assert caught.value is LOST
    assert len(other_sink.inspections) == 9
    assert len(lost_sink.finished) == 1
    assert "camera left is lost, the others go on" in caplog.text


@pytest.mark.parametrize("end", [[], [LOST]], ids=["ended", "lost"])
def test_the_event_of_a_camera_without_further_frames_ends_while_the_others_go_on(end):
    engine, sinks = OneThread(), []

    def frames():
        yield frame(2)
        for _ in range(5):
            ended.append(len(sinks[0].finished))
            yield frame(2)

    ended: list[int] = []
    first, sink = lane("left", engine, FakeSource([frame(200), *end]))
    sinks.append(sink)
    other, _ = lane("right", engine, FakeSource(frames()))
    with pytest.raises(SourceLost) if end else nullcontext():
        run([first, other])
    assert ended[-1] == 1
    assert len(sink.finished) == 1


def test_a_camera_whose_frames_are_never_scored_is_lost_as_well(caplog):
    engine = OneThread()
    bad, _ = lane("left", engine, FakeSource([frame(255)] * 50))
    other, other_sink = lane("right", engine, FakeSource([frame(2)] * 30))
    with pytest.raises(EngineUnavailable, match="10 frames in a row"):
        run([bad, other])
    assert len(other_sink.inspections) == 30


def test_the_number_of_frames_counts_all_cameras():
    engine = OneThread()
    lanes = [lane(name, engine, FakeSource(repeat(frame(1))))[0] for name in "abc"]
    run(lanes, max_frames=10)
    assert [each.inspector.frames for each in lanes] == [4, 3, 3]


def test_requests_are_carried_out_between_frames_and_while_no_frame_comes():
    engine, control = OneThread(), Control()
    source = FakeSource([frame(1), Pause(math.inf)])
    silent, _ = lane("", engine, source)
    threads = []

    def ask():
        threads.append(control.submit(threading.get_ident).result(LONG))
        source.close()

    asker = threading.Thread(target=ask)
    asker.start()
    run([silent], control)
    asker.join()
    assert threads == [engine.thread]


class Hanging(OneThread):
    """Does not return from a frame of value 13 until it is released; what it waits for is known."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.released = threading.Event(), threading.Event()

    def infer(self, frame):
        if frame[0, 0, 0] == 13:
            self.hangs.set()
            assert self.released.wait(LONG)
        return super().infer(frame)


def beating(lanes, heartbeat):
    for each in lanes:
        each.source.__enter__()
    Scheduler(lanes, inspecting=heartbeat.inspecting).run()


@pytest.mark.parametrize("cameras", [1, 3])
def test_a_source_that_waits_hides_no_engine_that_hangs(cameras):
    """A watched folder or a triggered camera says that it waits, whatever the engine does."""
    engine, clock, signs = Hanging(), ManualClock(), []
    heartbeat = Heartbeat([lambda: signs.append(clock.monotonic())], clock=clock)
    script = [frame(1), frame(13), frame(1)]
    lanes = [
        Lane(str(i), FakeSource(script if i == 0 else [frame(2)]), inspector_of(engine, [heartbeat]))
        for i in range(cameras)
    ]

    def wait_as_sources_do():
        assert engine.hangs.wait(LONG)
        before = len(signs)
        for _ in range(5):
            clock.advance(2)
            heartbeat.waiting()
        hung.append(len(signs) - before)
        engine.released.set()

    hung: list[int] = []
    other = threading.Thread(target=wait_as_sources_do)
    other.start()
    beating(lanes, heartbeat)
    other.join()
    assert hung == [0]
    assert signs[-1] == 10, "the frame that was scored in the end is a sign of life"
    clock.advance(2)
    heartbeat.waiting()
    assert signs[-1] == 12, "a source that waits between two frames is alive"


def test_the_frames_of_any_camera_are_signs_of_life_and_so_are_frames_that_a_guard_stops():
    clock, signs = ManualClock(), []
    heartbeat = Heartbeat([lambda: signs.append(clock.monotonic())], clock=clock)
    engine = OneThread()

    class Ticking(Guards):
        def check(self, frame):
            clock.advance(1)
            return super().check(frame)

    covered = FakeSource([frame(0)] * 4)
    inspector = inspector_of(engine, [heartbeat], Ticking(GuardsConfig()))
    beating([Lane("covered", covered, inspector), Lane("lost", FakeSource([]), inspector_of(engine, []))], heartbeat)
    assert (inspector.frames, engine.asked) == (0, [])
    assert signs == [1, 2, 3, 4]


def test_frames_that_the_engine_fails_at_are_no_signs_of_life():
    signs: list[int] = []
    heartbeat = Heartbeat([lambda: signs.append(1)])
    engine = OneThread()
    with pytest.raises(EngineUnavailable):
        beating([Lane("", FakeSource([frame(255)] * 9), inspector_of(engine, [heartbeat]))], heartbeat)
    assert (len(engine.asked), signs) == (9, [])

"""The loop, with fakes at its three seams."""

import time
from datetime import datetime, timezone

import numpy as np
import pytest

from edge_occ.decision import EventTracker, Judge, Phase
from edge_occ.errors import EngineUnavailable, SourceLost
from edge_occ.inspector import Inspector
from edge_occ.sources.base import Frame
from engines.base import Scores


class ListSource:
    """Frames whose first pixel is the score they shall get."""

    live = False
    dropped = 3

    def __init__(self, scores, error=None):
        self.scores, self.error, self.closed = scores, error, False

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        self.closed = True

    def __iter__(self):
        for index, score in enumerate(self.scores):
            if self.closed:
                return
            image = np.full((20, 30, 3), score, np.uint8)
            yield Frame(index, datetime.now(timezone.utc), time.monotonic(), image)
        if self.error:
            raise self.error


class FakeEngine:
    name, precision = "fake", "fp32"

    def infer(self, frame):
        score_map = np.zeros((10, 15), np.float32)
        score_map[4, 6] = frame[0, 0, 0]
        return Scores(float(score_map.max()), score_map)

    def close(self):
        pass


class ListSink:
    def __init__(self):
        self.published, self.finished = [], []

    def publish(self, inspection):
        self.published.append(inspection)

    def finish(self, inspection):
        self.finished.append(inspection)


def inspect(scores, error=None, **options):
    sink = ListSink()
    inspector = Inspector(FakeEngine(), Judge([1.0, 2.0, 10.0], 10.0), EventTracker(), [sink])
    with ListSource(scores, error) as source:
        summary = inspector.run(source, **options)
    return summary, sink


def test_every_frame_is_scored_judged_and_published():
    summary, sink = inspect([3, 50, 60, 10, 4])
    assert [i.verdict.score for i in sink.published] == [3, 50, 60, 10, 4]
    assert [i.verdict.anomalous for i in sink.published] == [False, True, True, False, False]
    phases = [i.event.phase if i.event else None for i in sink.published]
    assert phases == [None, Phase.START, Phase.UPDATE, Phase.END, None]
    assert (summary.frames, summary.anomalous, summary.events, summary.dropped) == (5, 2, 1, 3)
    assert summary.latency_ms["p50"] >= 0
    assert summary.fps > 0


def test_boxes_are_given_for_anomalous_frames_only():
    _, sink = inspect([3, 50])
    assert sink.published[0].boxes == ()
    (box,) = sink.published[1].boxes
    assert (box.x, box.y, box.width, box.height, box.peak) == (12, 8, 2, 2, 50)


def test_an_event_under_way_ends_with_the_stream():
    _, sink = inspect([3, 50])
    (last,) = sink.finished
    assert last.event.phase is Phase.END
    assert last.event.id == sink.published[1].event.id
    _, sink = inspect([3, 50, 3])
    assert sink.finished == []


def test_it_stops_after_as_many_frames_as_asked():
    summary, sink = inspect([1] * 10, max_frames=4)
    assert summary.frames == len(sink.published) == 4


def test_a_lost_source_ends_the_event_first():
    sink = ListSink()
    inspector = Inspector(FakeEngine(), Judge([1.0], 10.0), EventTracker(), [sink])
    with pytest.raises(SourceLost), ListSource([50], SourceLost("a camera", "none", "plug it in")) as source:
        inspector.run(source)
    assert sink.finished[0].event.phase is Phase.END


def test_a_score_that_is_no_number_is_refused():
    class Broken(FakeEngine):
        def infer(self, frame):
            return Scores(float("nan"), np.zeros((10, 15), np.float32))

    inspector = Inspector(Broken(), Judge([1.0], 10.0), EventTracker(), [])
    with pytest.raises(EngineUnavailable, match="nan for frame 0"), ListSource([1]) as source:
        inspector.run(source)


def test_no_frames_is_no_error():
    summary, sink = inspect([])
    assert summary.frames == 0
    assert summary.fps == 0
    assert summary.latency_ms == {}
    assert not sink.published

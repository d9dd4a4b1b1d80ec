"""Frames with given scores for an inspector, and an engine that gives them."""

import numpy as np
from fakes.engine import PartialEngine

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.clock import ManualClock
from edge_occ.inspection.events import EventTracker
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink
from edge_occ.runtime.inspector import Inspector
from edge_occ.runtime.scheduler import Lane, Scheduler
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

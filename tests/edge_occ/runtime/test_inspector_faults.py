"""Frames that cannot be inspected, and outputs that fail."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.engine import PartialEngine
from hypothesis import given
from hypothesis import strategies as st
from inspector_helpers import FakeEngine, ListSource, inspect, inspect_all
from mqtt_helpers import render

from edge_occ.bundle.conformal import ConformalThreshold
from edge_occ.common.drawn_region import DrawnRegion, Polygons
from edge_occ.common.errors import EngineUnavailable, InputError, SourceLost, UserError
from edge_occ.inspection.events import EventTracker
from edge_occ.inspection.guards import Guards, GuardsConfig
from edge_occ.inspection.mask import Mask
from edge_occ.inspection.roi import Roi
from edge_occ.inspection.scoring import MAX_CONSECUTIVE_FAULTS
from edge_occ.inspection.view import View
from edge_occ.mqtt.topics import Origin
from edge_occ.output.evidence.config import EvidenceConfig
from edge_occ.output.evidence.store import EvidenceStore
from edge_occ.output.outlets import Outlets
from edge_occ.output.sink import MemorySink
from edge_occ.runtime.inspector import Inspector
from edge_occ.sources.faults import Fault, Reason, Unscored
from engines.base import Scores


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


def test_frames_that_do_not_fit_the_mask_are_faults_and_end_a_run_without_scores():
    sink = MemorySink()
    mask = Mask(DrawnRegion(Path("mask.png"), (10, 10), bits=np.packbits(np.ones((10, 10), bool)).tobytes()))
    inspector = Inspector(
        FakeEngine(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets([sink]), view=View(mask=mask)
    )
    with ListSource([50] * 20) as source, pytest.raises(InputError, match="frames of 30x20 pixels; found 10x10"):
        inspect_all(inspector, source)
    assert [fault.reason for fault in sink.faults] == [Reason.FRAME] * MAX_CONSECUTIVE_FAULTS
    assert sink.inspections == []


def test_a_map_that_is_none_is_a_fault_of_the_engine_with_a_mask_too():
    class Flat(FakeEngine):
        def infer(self, frame):
            return Scores(50.0, np.zeros(7, np.float32))

    mask = Mask(DrawnRegion(Path("mask.json"), (1, 1), Polygons()))
    inspector = Inspector(Flat(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets(), view=View(mask=mask))
    (frame,) = ListSource([50]).items()
    assert inspector.inspect(frame).reason is Reason.ENGINE


def test_a_frame_without_the_region_of_interest_is_a_fault():
    sink = MemorySink()
    inspector = Inspector(
        FakeEngine(), ConformalThreshold([1.0], 10.0), EventTracker(), Outlets([sink]), view=View(Roi(20, 0, 11, 5))
    )
    with ListSource([50]) as source, pytest.raises(SourceLost, match="region of interest"):
        inspect_all(inspector, source)
    assert [fault.reason for fault in sink.faults] == [Reason.FRAME]

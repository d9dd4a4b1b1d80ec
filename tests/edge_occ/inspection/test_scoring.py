"""Scores of single frames, and the count of frames without one."""

import numpy as np
import pytest
from fakes.engine import PartialEngine
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.errors import EngineUnavailable, SourceLost
from edge_occ.inspection.scoring import MAX_CONSECUTIVE_FAULTS, FaultTally, score_frame
from edge_occ.sources.faults import Reason, Unscored
from engines.base import Scores

FRAME = np.zeros((20, 30, 3), np.uint8)


class FixedEngine(PartialEngine):
    """Gives the same scores, or raises the same error, for every frame."""

    def __init__(self, result):
        self.result, self.frames = result, 0

    def infer(self, frame):
        self.frames += 1
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def fault_of(engine, frame=FRAME):
    with pytest.raises(Unscored) as caught:
        score_frame(engine, frame)
    return caught.value


def test_a_frame_gets_the_scores_of_the_engine():
    scores = Scores(3.0, np.ones((2, 3), np.float32))
    assert score_frame(FixedEngine(scores), FRAME) is scores


@pytest.mark.parametrize(
    ("image", "detail"),
    [
        (FRAME[..., 0], "uint8 [20, 30] in place of"),
        (np.zeros((20, 30, 4), np.uint8), "uint8 [20, 30, 4] in place of"),
        (FRAME.astype(np.uint16), "uint16 [20, 30, 3] in place of"),
        (FRAME[:0], "without pixels"),
        (None, "NoneType in place of"),
    ],
)
def test_an_array_that_is_no_frame_never_reaches_the_engine(image, detail):
    engine = FixedEngine(Scores(3.0, np.ones((2, 3), np.float32)))
    fault = fault_of(engine, image)
    assert fault.reason is Reason.FRAME
    assert detail in fault.detail
    assert engine.frames == 0


@pytest.mark.parametrize(("score", "corner"), [(np.nan, 0), (np.inf, 0), (3.0, np.nan), (3.0, -np.inf)])
def test_a_score_or_a_map_that_is_not_finite_is_a_fault(score, corner):
    score_map = np.zeros((2, 3), np.float32)
    score_map[1, 2] = corner
    assert fault_of(FixedEngine(Scores(score, score_map))).reason is Reason.SCORE


def test_an_error_of_the_engine_is_a_fault_in_one_line():
    fault = fault_of(FixedEngine(RuntimeError("CUDA error\n  at frame 2")))
    assert (fault.reason, fault.detail, fault.error) == (Reason.ENGINE, "RuntimeError: CUDA error at frame 2", None)
    advice = EngineUnavailable("frames of at most 10x10", "20x30", "set engine.max_frame")
    assert fault_of(FixedEngine(advice)).error is advice


@given(st.lists(st.sampled_from([None, Reason.ENGINE, Reason.SCORE, Reason.FRAME, Reason.UNREADABLE]), max_size=60))
def test_a_tally_ends_at_the_last_of_consecutive_faults_and_counts_all(frames):
    """An unreadable picture neither counts as a frame without a score nor interrupts a series of them."""
    tally, counted, text = FaultTally(), [], ""
    for reason in frames:
        if reason is not Reason.UNREADABLE:
            text += "." if reason is None else "x"
        expected = reason not in (None, Reason.UNREADABLE) and text.endswith("x" * MAX_CONSECUTIVE_FAULTS)
        if reason is None:
            tally.scored()
            continue
        counted.append(reason)
        if expected:
            with pytest.raises(SourceLost if reason is Reason.FRAME else EngineUnavailable):
                tally.add(Unscored(reason, "detail"))
            break
        tally.add(Unscored(reason, "detail"))
    assert all(tally.counts[reason] == counted.count(reason) for reason in Reason)


def test_a_run_without_any_score_ends_in_the_error_of_its_last_fault():
    tally = FaultTally()
    tally.check(0)
    tally.add(Unscored(Reason.UNREADABLE, "damaged"))
    tally.check(0)
    tally.add(Unscored(Reason.SCORE, "a score of nan"))
    tally.check(1)
    with pytest.raises(EngineUnavailable, match="none for any frame; the last: a score of nan"):
        tally.check(0)

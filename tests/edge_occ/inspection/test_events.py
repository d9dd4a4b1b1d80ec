from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import ConformalThreshold, Verdict
from edge_occ.inspection.events import EventChange, EventTracker, Phase

# Few distinct values, so that ties are the rule and not the exception.
scores = st.integers(0, 12).map(lambda n: n / 4) | st.floats(0, 1e6)


def naive_p_value(held_out, score):
    return Fraction(1 + sum(s >= score for s in held_out), len(held_out) + 1)


@given(st.lists(scores, min_size=1, max_size=40), scores)
def test_p_value_is_the_conformal_one(held_out, score):
    judge = ConformalThreshold(held_out, threshold=1.0)
    assert judge.p_value(score) == float(naive_p_value(held_out, score))
    assert 0 < judge.p_value(score) <= 1


@given(st.lists(scores, min_size=1, max_size=40), st.lists(scores, min_size=2, max_size=2))
def test_a_higher_score_never_has_a_higher_p_value(held_out, pair):
    judge = ConformalThreshold(held_out, threshold=1.0)
    low, high = sorted(pair)
    assert judge.p_value(high) <= judge.p_value(low)


@given(st.lists(scores, min_size=1, max_size=40), scores, st.fractions(0, 1))
def test_above_the_calibrated_threshold_means_p_value_at_most_alpha(held_out, score, alpha):
    rank = math.ceil((len(held_out) + 1) * (1 - alpha))
    threshold = math.inf if rank > len(held_out) else -math.inf if rank == 0 else sorted(held_out)[rank - 1]
    verdict = ConformalThreshold(held_out, threshold).verdict(score)
    assert verdict.anomalous == (naive_p_value(held_out, score) <= alpha)
    assert verdict == Verdict(score, float(naive_p_value(held_out, score)), threshold, verdict.anomalous)


def test_a_score_at_the_threshold_is_normal():
    assert not ConformalThreshold([1.0, 2.0, 3.0], threshold=3.0).verdict(3.0).anomalous
    assert ConformalThreshold([1.0, 2.0, 3.0], threshold=3.0).verdict(math.nextafter(3.0, 4)).anomalous


def test_the_calibration_scores_are_not_sorted_in_place():
    held_out = [3.0, 1.0, 2.0]
    ConformalThreshold(held_out, 1.0)
    assert held_out == [3.0, 1.0, 2.0]


def test_a_judge_without_calibration_is_refused():
    with pytest.raises(ValueError, match="at least one calibration score"):
        ConformalThreshold([], 1.0)


def verdict_of(score, threshold=1.0):
    return Verdict(score, 0.5, threshold, score > threshold)


def naive_events(values, k, n, release):
    """(phase, peak, frames) or None for each score, from the whole history since the last event."""
    since, start, changes = [], None, []
    for value in values:
        since.append(value)
        window = since[-n:]
        if start is None:
            change = None
            if len([v for v in window if v > 1.0]) >= k:
                start, peak = len(since) - 1, max(window)
                change = (Phase.START, peak, 1)
        else:
            frames = len(since) - start
            if len(since) >= n and max(window) <= release:
                change = (Phase.END, peak, frames)
                since, start = [], None
            elif value > peak:
                peak = value
                change = (Phase.UPDATE, peak, frames)
            else:
                change = None
        changes.append(change)
    return changes


@given(
    st.lists(st.integers(0, 12).map(lambda x: x / 8), max_size=60),
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
)
def test_events_follow_the_naive_reference(values, k_of_n, release):
    k, n = k_of_n
    tracker = EventTracker(k, n, release)
    steps = [tracker.step(verdict_of(value)) for value in values]
    assert [c and (c.phase, c.peak, c.frames) for c in steps] == naive_events(values, k, n, release)
    changes = [c for c in steps if c is not None]
    changes += [c for c in [tracker.finish()] if c is not None]
    assert_well_formed(changes)


def assert_well_formed(changes: list[EventChange]):
    """Start, updates with rising peaks, end; one id an event, never used again."""
    open_event, used = None, set()
    for change in changes:
        if change.phase is Phase.START:
            assert open_event is None
            assert change.id not in used
            used.add(change.id)
        else:
            assert open_event is not None
            assert change.id == open_event.id
            assert change.frames > open_event.frames or change.phase is Phase.END
            assert change.peak > open_event.peak if change.phase is Phase.UPDATE else change.peak == open_event.peak
        open_event = None if change.phase is Phase.END else change
    assert open_event is None


def test_two_of_three():
    tracker = EventTracker(k=2, n=3)
    phases = [c and c.phase for c in (tracker.step(verdict_of(s)) for s in (2, 0, 0, 2, 0, 3, 0, 0, 0, 2))]
    assert phases == [None] * 5 + [Phase.START, None, None, Phase.END, None]


def test_a_score_wavering_about_the_threshold_makes_one_event():
    tracker = EventTracker(k=1, n=2, release=0.5)
    changes = [tracker.step(verdict_of(s)) for s in (1.1, 0.9, 1.1, 0.9, 1.1, 0.4, 0.4)]
    assert [c.phase for c in changes if c] == [Phase.START, Phase.END]
    assert changes[-1] is not None
    assert (changes[-1].peak, changes[-1].frames) == (1.1, 7)


def test_finish_ends_the_event_under_way_once():
    tracker = EventTracker()
    assert tracker.finish() is None
    start = tracker.step(verdict_of(2))
    end = tracker.finish()
    assert start is not None
    assert end == EventChange(start.id, Phase.END, 2, 1)
    assert tracker.finish() is None


def test_what_came_before_a_finish_does_not_count_afterwards():
    tracker = EventTracker(k=2, n=3)
    changes = [tracker.step(verdict_of(2)), tracker.step(verdict_of(2)), tracker.finish(), tracker.step(verdict_of(2))]
    assert [c and c.phase for c in changes] == [None, Phase.START, Phase.END, None]


@pytest.mark.parametrize(("k", "n", "release"), [(0, 1, 1.0), (2, 1, 1.0), (1, 1, 0.0), (1, 1, 1.5), (-1, 3, 1.0)])
def test_impossible_settings_are_refused(k, n, release):
    with pytest.raises(ValueError, match="not"):
        EventTracker(k, n, release)

"""Events against a naive reference over the whole history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import Verdict
from edge_occ.inspection.events import EventChange, EventTracker, Phase


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

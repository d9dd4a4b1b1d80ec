"""Events against a naive reference over the whole history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import Verdict
from edge_occ.inspection.events import EventChange, EventTracker, Phase


def verdict_of(score, threshold=1.0):
    return Verdict(score, 0.5, threshold, score > threshold)


def naive_events(values, times, k, n, release, gap):
    """(phase, peak, frames, seconds) or None for each score, from the whole history since the last event.

    The end of an event at the gap before a part comes with the score before it, in a list of its own.
    """
    since, start, changes, at_gaps, peak, begun = [], None, [], [], None, None
    for i, (value, now) in enumerate(zip(values, times, strict=True)):
        if i and now - times[i - 1] > gap:
            if start is not None:
                at_gaps.append((i - 1, Phase.END, peak, len(since) - start, times[i - 1] - begun))
            since, start = [], None
        since.append(value)
        window = since[-n:]
        if start is None:
            change = None
            if len([v for v in window if v > 1.0]) >= k:
                start, peak, begun = len(since) - 1, max(window), now
                change = (Phase.START, peak, 1, 0)
        else:
            frames = len(since) - start
            if len(since) >= n and max(window) <= release:
                change = (Phase.END, peak, frames, now - begun)
                since, start = [], None
            elif value > peak:
                peak = value
                change = (Phase.UPDATE, peak, frames, now - begun)
            else:
                change = None
        changes.append(change)
    return changes, at_gaps


@given(
    st.lists(st.tuples(st.integers(0, 12).map(lambda x: x / 8), st.sampled_from([1, 1, 1, 2, 5])), max_size=60),
    st.integers(1, 5).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n))),
    st.sampled_from([0.25, 0.5, 0.75, 1.0]),
    st.sampled_from([None, 1, 3]),
)
def test_events_follow_the_naive_reference(frames, k_of_n, release, gap):
    k, n = k_of_n
    values, pauses = [value for value, _ in frames], [pause for _, pause in frames]
    times = [sum(pauses[: i + 1]) for i in range(len(pauses))]
    tracker = EventTracker(k, n, release, gap)
    steps, at_gaps, changes = [], [], []
    for i, (value, now) in enumerate(zip(values, times, strict=True)):
        if tracker.is_new_part(now):
            changes.append(tracker.finish())
            at_gaps += [(i - 1, c.phase, c.peak, c.frames, c.seconds) for c in changes[-1:] if c]
        steps.append(tracker.step(verdict_of(value), now))
        changes.append(steps[-1])
    changes.append(tracker.finish())
    found = [c and (c.phase, c.peak, c.frames, c.seconds) for c in steps]
    assert (found, at_gaps) == naive_events(values, times, k, n, release, gap or float("inf"))
    assert_well_formed([c for c in changes if c is not None])


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


def test_an_event_does_not_go_on_over_a_gap_between_parts():
    tracker = EventTracker(k=2, n=3, part_gap=1)
    assert not tracker.is_new_part(0)
    assert [tracker.step(verdict_of(2), now) for now in (0,)] == [None]
    assert not tracker.is_new_part(1)
    assert tracker.is_new_part(1.5)
    assert tracker.finish() is None
    assert tracker.step(verdict_of(2), 1.5) is None  # one of two: the anomalous frame before was of another part
    start = tracker.step(verdict_of(2), 2)
    assert start is not None
    assert start.phase is Phase.START


def test_frames_for_review_start_no_event():
    tracker = EventTracker()
    verdict = Verdict(0.9, 0.1, 1.0, anomalous=False, review_threshold=0.5)
    assert verdict.name == "review"
    assert tracker.step(verdict) is None


@pytest.mark.parametrize(("k", "n", "release"), [(0, 1, 1.0), (2, 1, 1.0), (1, 1, 0.0), (1, 1, 1.5), (-1, 3, 1.0)])
def test_impossible_settings_are_refused(k, n, release):
    with pytest.raises(ValueError, match="not"):
        EventTracker(k, n, release)

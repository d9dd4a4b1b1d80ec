"""Rates of false events, against sequences whose rate is known."""

import numpy as np
import pytest

from edge_occ.inspection.event_rate import EventRate, count_events, resampled_event_rate
from edge_occ.inspection.events import EventTracker


def test_events_are_counted_as_an_inspector_starts_them():
    scores = [0, 2, 2, 0, 2, 0, 0, 2]
    assert count_events(scores, 1.0, EventTracker()) == 3
    tracker = EventTracker(2, 3)
    assert [count_events(scores, 1.0, tracker) for _ in range(2)] == [1, 1]
    assert count_events(scores, 1.0, EventTracker(3, 3)) == 0
    assert count_events([], 1.0, EventTracker()) == 0


def test_independent_frames_follow_the_formula():
    """One of one at a rate of 5 %: an event starts where an anomalous frame follows a normal one."""
    scores = (np.random.default_rng(0).random(2000) < 0.05) * 2.0
    rate = resampled_event_rate(scores.tolist(), 1.0, EventTracker(), repeats=40)
    share = float(np.mean(scores > 1))
    assert rate.mean == pytest.approx(1000 * share * (1 - share), rel=0.05)
    assert rate.mean < rate.upper_95 < 1.6 * rate.mean


def test_blocks_keep_what_independent_frames_lose():
    """Parts of five frames, one part in fifty odd: three of five starts an event for each of these parts."""
    scores = np.repeat((np.arange(400) % 50 == 7) * 2.0, 5).tolist()
    together = resampled_event_rate(scores, 1.0, EventTracker(3, 5), block=50, repeats=40)
    alone = resampled_event_rate(scores, 1.0, EventTracker(3, 5), block=1, repeats=40)
    assert together.mean == pytest.approx(1000 * 8 / 2000, rel=0.15)
    assert alone.mean < 0.1 * together.mean


def test_the_same_seed_gives_the_same_rate():
    scores = np.random.default_rng(1).random(100).tolist()
    first, again, other = (
        resampled_event_rate(scores, 0.9, EventTracker(), repeats=5, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert resampled_event_rate([0.5], 0.9, EventTracker(), block=7) == EventRate(0.0, 0.0)


@pytest.mark.parametrize("wrong", [{"scores": []}, {"block": 0}, {"repeats": 0}])
def test_impossible_arguments_are_refused(wrong):
    arguments = {"scores": [1.0], "threshold": 0.5, "tracker": EventTracker(), **wrong}
    with pytest.raises(ValueError, match="at least 1"):
        resampled_event_rate(**arguments)

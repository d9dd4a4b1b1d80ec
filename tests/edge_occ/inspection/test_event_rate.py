"""Rates of false events, against sequences whose rate is known."""

import numpy as np
import pytest

from edge_occ.bundle.conformal import Verdict
from edge_occ.inspection import event_rate
from edge_occ.inspection.events import EventTracker


def verdicts(scores, threshold):
    return [Verdict(score, 1.0, threshold, score > threshold) for score in scores]


def count_events(scores, threshold, tracker, captured=None):
    moments = range(len(scores)) if captured is None else captured
    return event_rate.count_events(verdicts(scores, threshold), moments, tracker)


def resampled_event_rate(scores, threshold, tracker, captured=None, **options):
    moments = range(len(scores)) if captured is None else captured
    return event_rate.resampled_event_rate(verdicts(scores, threshold), moments, tracker, **options)


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
    one = resampled_event_rate([0.5], 0.9, EventTracker(), block=7)
    assert (one.mean, one.upper_95) == (0, pytest.approx(950))


def test_a_recording_without_events_does_not_promise_that_there_are_none():
    rate = resampled_event_rate([0.0] * 3000, 1.0, EventTracker(), repeats=2)
    assert (rate.mean, rate.upper_95) == (0, pytest.approx(1000 * (1 - 0.05 ** (1 / 3000))))
    assert resampled_event_rate([2.0], 1.0, EventTracker(), repeats=2).upper_95 == 1000


def test_an_event_is_held_to_one_part():
    """Odd parts of two frames, a second apart in pairs: without a gap the pair is one event."""
    scores, captured = [2, 2, 2, 2, 0, 0], [0, 0.1, 1, 1.1, 2, 2.1]
    assert count_events(scores, 1.0, EventTracker(), captured) == 1
    assert count_events(scores, 1.0, EventTracker(part_gap=0.5), captured) == 2
    assert count_events([2, 0, 2], 1.0, EventTracker(2, 3), [0, 1, 2]) == 1
    assert count_events([2, 0, 2], 1.0, EventTracker(2, 3, part_gap=0.5), [0, 1, 2]) == 0


def test_resampled_blocks_keep_the_gaps_between_parts():
    """Every part odd, of three frames: an event for each part, and at most one more for each block that cuts one."""
    scores, captured = [2.0] * 600, [part + 0.1 * frame for part in range(200) for frame in range(3)]
    held = resampled_event_rate(scores, 1.0, EventTracker(part_gap=0.5), captured, block=60, repeats=20)
    assert 1000 / 3 <= held.mean <= 1000 / 3 + 1000 * 10 / 600
    assert resampled_event_rate(scores, 1.0, EventTracker(), captured, block=60, repeats=20).mean == 1000 / 600


@pytest.mark.parametrize("wrong", [{"scores": []}, {"block": 0}, {"repeats": 0}])
def test_impossible_arguments_are_refused(wrong):
    arguments = {"scores": [1.0], "threshold": 0.5, "tracker": EventTracker(), **wrong}
    with pytest.raises(ValueError, match="at least 1"):
        resampled_event_rate(**arguments)

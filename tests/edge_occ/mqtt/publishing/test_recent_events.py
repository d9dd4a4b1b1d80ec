"""The last confirmed messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_occ.inspection.events import Phase
from edge_occ.mqtt.publishing.event_store import QueuedEvent
from edge_occ.mqtt.publishing.recent_events import RecentEvents


def event(number: int) -> QueuedEvent:
    return QueuedEvent(str(number), Phase.UPDATE, b"{}", 0.0)


@given(st.lists(st.floats(0, 40), max_size=40), st.floats(0, 40))
def test_exactly_those_of_the_last_seconds_are_kept_in_order(pauses, last_pause):
    recent, now, times = RecentEvents(30.0), 0.0, []
    for number, pause in enumerate(pauses):
        now += pause
        recent.add(event(number), now)
        times.append(now)
    now += last_pause
    recent.forget(now)
    taken = recent.take_all()
    assert [int(one.id) for one in taken] == [n for n, at in enumerate(times) if now - at <= 30]
    assert all(one.historical for one in taken)
    assert recent.take_all() == []


def test_none_are_kept_for_no_seconds():
    recent = RecentEvents(0.0)
    recent.add(event(1), 1.0)
    assert recent.take_all() == []


def test_their_number_is_bounded():
    recent = RecentEvents(30.0)
    for number in range(5000):
        recent.add(event(number), 1.0)
    assert [int(one.id) for one in recent.take_all()] == list(range(3000, 5000))

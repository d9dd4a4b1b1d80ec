"""Repetitions of event messages."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.inspection.events import Phase
from edge_occ.mqtt import seen_events
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.payloads import Event
from edge_occ.mqtt.seen_events import SeenEvents


def message(frame: int, phase: Phase = Phase.UPDATE, of: str = "one") -> Event:
    return event_message(inspection(frame, 2.0, event=phase, of=of))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["left", "right"]),
            st.integers(0, 3),
            st.sampled_from(Phase),
            st.sampled_from(["one", "other"]),
        ),
        max_size=40,
    )
)
def test_only_a_message_with_the_same_topic_id_phase_and_frame_is_a_repetition(given_messages):
    seen, known = SeenEvents(), set()
    for key in given_messages:
        topic, *rest = key
        assert seen.is_repeated(topic, message(*rest)) is (key in known)
        known.add(key)


def test_a_message_that_is_marked_as_historical_is_the_same_one():
    seen = SeenEvents()
    assert not seen.is_repeated("t", message(1))
    assert seen.is_repeated("t", message(1).model_copy(update={"historical": True}))


def test_the_oldest_are_forgotten(monkeypatch):
    monkeypatch.setattr(seen_events, "_MAX_MESSAGES", 3)
    seen = SeenEvents()
    for frame in range(5):
        seen.is_repeated("t", message(frame))
    assert [seen.is_repeated("t", message(frame)) for frame in (4, 3, 2)] == [True] * 3
    assert not seen.is_repeated("t", message(1))

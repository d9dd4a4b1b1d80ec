"""The contract of an event store, for every implementation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.inspection.events import EventChange, Phase
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.publishing.event_store import EventStore, MemoryEventStore, QueuedEvent

START, UPDATE, END = Phase

OpenStore = Callable[..., EventStore]


@pytest.fixture(scope="module", params=[MemoryEventStore])
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Makes an empty store of ``max_messages`` that reports drops to ``on_drop``."""
    return request.param


def event(identifier: str, phase: Phase, frame: int = 0, captured: float = 0.0) -> QueuedEvent:
    change = EventChange(identifier, phase, 2.0, 1)
    return QueuedEvent(event_message(replace(inspection(frame, 2.0), event=change)), captured)


def drain(store: EventStore) -> list[tuple[str, Phase]]:
    return [(taken.message.id, taken.message.phase) for taken in iter(store.take, None)]


def test_an_empty_store_has_nothing(open_store: OpenStore):
    store = open_store()
    assert (store.take(), store.depth, store.dropped, store.age(9.0), store.drop_all()) == (None, 0, 0, 0.0, 0)


def test_a_full_store_drops_updates_and_then_whole_events_the_oldest_first(open_store: OpenStore):
    store = open_store(max_messages=4)
    for identifier, phase in [("a", START), ("a", UPDATE), ("a", UPDATE), ("a", END), ("b", START), ("b", END)]:
        store.put(event(identifier, phase))
    assert store.dropped == 2
    store.put(event("c", START))
    assert drain(store) == [("b", START), ("b", END), ("c", START)]
    assert store.dropped == 4


def test_later_messages_of_a_dropped_event_are_dropped_too(open_store: OpenStore):
    store = open_store(max_messages=1)
    for identifier, phase in [("a", START), ("b", START), ("a", UPDATE), ("a", END), ("b", END)]:
        store.put(event(identifier, phase))
    assert drain(store) == []
    assert store.dropped == 5
    store.put(event("a", START))  # its end was put, so its id is free again
    assert drain(store) == [("a", START)]


def test_an_event_whose_start_was_taken_keeps_its_end(open_store: OpenStore):
    store = open_store(max_messages=2)
    store.put(event("a", START))
    store.settle(store.take())
    store.put(event("a", END))
    for identifier in "bcd":
        store.put(event(identifier, START))
        store.put(event(identifier, END))
    assert ("a", END) in drain(store)


def test_messages_given_back_come_first_in_their_order(open_store: OpenStore):
    store = open_store()
    for frame in range(4):
        store.put(event("a", UPDATE, frame))
    taken = [store.take() for _ in range(3)]
    store.settle(taken[1])
    store.give_back()
    assert [item.message.frame for item in iter(store.take, None)] == [0, 2, 3]


def test_depth_and_age_include_what_was_taken(open_store: OpenStore):
    store = open_store()
    store.put(event("a", START, captured=3.0))
    store.put(event("a", END, captured=5.0))
    first = store.take()
    assert (store.depth, store.age(9.0)) == (2, 6.0)
    store.settle(first)
    assert (store.depth, store.age(9.0)) == (1, 4.0)
    assert (store.drop_all(), store.depth, store.dropped) == (1, 0, 1)


def test_every_drop_is_reported(open_store: OpenStore):
    reported: list[int] = []
    store = open_store(max_messages=2, on_drop=reported.append)
    for number in range(4):
        store.put(event(str(number), START))
    assert sum(reported) == store.dropped == 2
    store.drop_all()
    assert sum(reported) == store.dropped == 4


def test_many_drops_are_one_line_in_the_log(open_store: OpenStore, caplog):
    store = open_store(max_messages=2)
    for number in range(100):
        store.put(event(str(number), START))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "1 event messages dropped so far" in caplog.text


@given(
    st.lists(st.sampled_from(["start", "update", "end", "take", "take", "settle", "give back"]), max_size=80),
    st.integers(1, 6),
)
def test_events_are_whole_in_order_and_counted_after_any_steps(open_store: OpenStore, steps, bound):
    """One event after the other, each from start to end, as a tracker makes them."""
    store = open_store(max_messages=bound)
    number, running, put = 0, False, 0
    in_flight: list[QueuedEvent] = []
    settled: list[QueuedEvent] = []
    for step in steps:
        phase = {"start": START, "update": UPDATE, "end": END}.get(step)
        if phase is not None and running == (phase is not START):
            number += phase is START
            running = phase is not END
            store.put(event(str(number), phase, put))
            put += 1
        elif step == "take" and len(in_flight) < 3 and (taken := store.take()) is not None:
            in_flight.append(taken)
        elif step == "settle" and in_flight:
            settled.append(in_flight.pop(0))
            store.settle(settled[-1])
        elif step == "give back":
            in_flight.clear()
            store.give_back()
        assert put == len(settled) + store.depth + store.dropped
        assert store.depth <= bound + 4  # on top: messages of started events, which must end
    store.give_back()
    while (taken := store.take()) is not None:
        settled.append(taken)
        store.settle(taken)
    frames = [item.message.frame for item in settled]
    assert frames == sorted(set(frames))
    sent: dict[str, list[Phase]] = {}
    for item in settled:
        sent.setdefault(item.message.id, []).append(item.message.phase)
    for identifier, phases in sent.items():
        assert phases[0] is START
        assert phases.count(END) == (identifier != str(number) or not running)

"""The contract of an event store, for every implementation."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.inspection.events import EventChange, Phase
from edge_occ.mqtt.config import MqttConfig
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.publishing.event_store import EventStore, MemoryEventStore, QueuedEvent
from edge_occ.mqtt.publishing.outbox import Outbox
from edge_occ.mqtt.publishing.sqlite_event_store import SqliteEventStore

START, UPDATE, END = Phase
BYTES = 1500
"""Of each message of these tests, as they count against the budget."""

OpenStore = Callable[..., EventStore]


@pytest.fixture(scope="module", params=["memory", "sqlite in memory", "sqlite", "outbox on disk", "outbox in memory"])
def open_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Makes an empty store of ``max_messages`` that reports drops to ``on_drop``."""
    with contextlib.ExitStack() as stack:

        def open_store(max_messages: int = 1000, on_drop: Callable[[int], None] = lambda _: None) -> EventStore:
            budget = max_messages * BYTES
            if request.param == "memory":
                return MemoryEventStore(budget, on_drop)
            if request.param == "sqlite in memory":
                store = SqliteEventStore(None, budget, on_drop)
            else:
                folder = tmp_path_factory.mktemp("store")
                if request.param == "sqlite":
                    store = SqliteEventStore(folder / "outbox", budget, on_drop)
                else:
                    return opened_outbox(stack, folder, budget, on_drop, on_disk=request.param == "outbox on disk")
            stack.callback(store.close)
            return store

        yield open_store


def opened_outbox(stack, folder, budget, on_drop, *, on_disk: bool) -> Outbox:
    if not on_disk:
        (folder / "state").touch()  # a file in the place of the folder
    # The setting is in megabytes; these tests use less.
    config = MqttConfig().model_copy(update={"state": folder / "state", "outbox_mb": budget / 1_000_000})
    return stack.enter_context(Outbox(config, on_drop))


def event(identifier: str, phase: Phase, frame: int = 0, captured: float = 0.0) -> QueuedEvent:
    change = EventChange(identifier, phase, 2.0, 1)
    message = event_message(replace(inspection(frame, 2.0), event=change))
    excess = QueuedEvent.of(message.model_copy(update={"name": ""}), captured).size
    return QueuedEvent.of(message.model_copy(update={"name": "x" * (BYTES - excess)}), captured)


def drain(store: EventStore) -> list[tuple[str, Phase]]:
    return [(taken.id, taken.phase) for taken in iter(store.take, None)]


def test_an_empty_store_has_nothing(open_store: OpenStore):
    store = open_store()
    assert (store.take(), store.depth, store.size, store.dropped, store.age(9.0)) == (None, 0, 0, 0, 0.0)
    store.sync()
    assert store.close() == 0


def test_a_store_says_whether_what_it_holds_outlasts_the_process(open_store: OpenStore):
    store = open_store()
    store.put(event("a", START))
    lasting = store.lasting
    assert lasting == (store.close() == 1)


def test_messages_come_back_byte_by_byte(open_store: OpenStore):
    store = open_store()
    put = [
        event("ä\n'\"", START, 0, captured=1e-3),
        event("ä\n'\"", UPDATE, 1, captured=7),
        event("ä\n'\"", END, 2, captured=1e9),
    ]
    for item in put:
        store.put(item)
    taken = list(iter(store.take, None))
    assert [(item.id, item.phase, item.payload, item.historical) for item in taken] == [
        (item.id, item.phase, item.payload, item.historical) for item in put
    ]
    assert [item.captured for item in taken] == pytest.approx([item.captured for item in put], abs=1e-5)
    assert [item.message.to_json() for item in taken] == [item.payload for item in put]


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


def test_an_event_whose_start_was_taken_and_given_back_is_kept(open_store: OpenStore):
    """The broker may have it."""
    store = open_store(max_messages=2)
    store.put(event("a", START))
    store.take()
    store.give_back()
    for identifier in "bc":
        store.put(event(identifier, START))
        store.put(event(identifier, END))
    store.put(event("a", END))
    assert drain(store) == [("a", START), ("a", END)]


def test_messages_given_back_come_first_in_their_order(open_store: OpenStore):
    store = open_store()
    for frame in range(4):
        store.put(event("a", UPDATE, frame))
    taken = [store.take() for _ in range(3)]
    store.settle(taken[1])
    store.give_back()
    assert [item.message.frame for item in iter(store.take, None)] == [0, 2, 3]


def test_depth_size_and_age_include_what_was_taken(open_store: OpenStore):
    store = open_store()
    store.put(event("a", START, captured=3.0))
    store.put(event("a", END, captured=5.0))
    first = store.take()
    assert (store.depth, store.size, store.age(9.0)) == (2, 2 * BYTES, pytest.approx(6.0, abs=1e-5))
    store.settle(first)
    assert (store.depth, store.size, store.age(9.0)) == (1, BYTES, pytest.approx(4.0, abs=1e-5))


def test_at_the_end_every_message_remains_or_is_dropped(open_store: OpenStore):
    reported: list[int] = []
    store = open_store(on_drop=reported.append)
    for frame in range(5):
        store.put(event("a", UPDATE, frame))
    store.settle(store.take())
    store.take()
    assert store.close() + store.dropped == 4
    assert sum(reported) == store.dropped


def test_every_drop_is_reported(open_store: OpenStore):
    reported: list[int] = []
    store = open_store(max_messages=2, on_drop=reported.append)
    for number in range(4):
        store.put(event(str(number), START))
    assert sum(reported) == store.dropped == 2


def test_many_drops_are_one_line_in_the_log(open_store: OpenStore, caplog):
    store = open_store(max_messages=2)
    caplog.clear()
    for number in range(100):
        store.put(event(str(number), START))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "1 event messages dropped so far" in caplog.text


STEPS = st.lists(
    st.sampled_from(["start", "update", "end", "take", "take", "settle", "give back", "sync"]), max_size=80
)


@given(STEPS, st.integers(1, 6))
def test_events_are_whole_in_order_and_counted_after_any_steps(open_store: OpenStore, steps, bound):
    """One event after the other, each from start to end, as a tracker makes them; a plain store does the same."""
    store, model = open_store(max_messages=bound), MemoryEventStore(bound * BYTES)
    number, running, put = 0, False, 0
    in_flight: list[tuple[QueuedEvent, QueuedEvent]] = []
    settled: list[QueuedEvent] = []
    for step in steps:
        phase = {"start": START, "update": UPDATE, "end": END}.get(step)
        if phase is not None and running == (phase is not START):
            number += phase is START
            running = phase is not END
            message = event(str(number), phase, put)
            store.put(message)
            model.put(message)
            put += 1
        elif step == "take" and len(in_flight) < 3 and (taken := store.take()) is not None:
            in_flight.append((taken, model.take()))
            assert taken.payload == in_flight[-1][1].payload
        elif step == "settle" and in_flight:
            taken, expected = in_flight.pop(0)
            settled.append(taken)
            store.settle(taken)
            model.settle(expected)
        elif step == "give back":
            in_flight.clear()
            store.give_back()
            model.give_back()
        elif step == "sync":
            store.sync()
        assert (store.depth, store.size, store.dropped) == (model.depth, model.size, model.dropped)
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
        sent.setdefault(item.id, []).append(item.phase)
    for identifier, phases in sent.items():
        assert phases[0] is START
        assert phases.count(END) == (identifier != str(number) or not running)

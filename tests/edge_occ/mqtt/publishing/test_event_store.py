from __future__ import annotations

import logging
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from mqtt_helpers import inspection

from edge_occ.inspection.events import EventChange, Phase
from edge_occ.mqtt.messages import event_message
from edge_occ.mqtt.publishing.delivery_stats import DeliveryStats
from edge_occ.mqtt.publishing.event_store import MemoryEventStore, QueuedEvent

START, UPDATE, END = Phase


def event(identifier: str, phase: Phase, frame: int = 0, captured: float = 0.0) -> QueuedEvent:
    change = EventChange(identifier, phase, 2.0, 1)
    return QueuedEvent(event_message(replace(inspection(frame, 2.0), event=change)), captured)


def drain(queue: MemoryEventStore) -> list[tuple[str, Phase]]:
    return [(taken.message.id, taken.message.phase) for taken in iter(queue.take, None)]


def test_a_full_queue_drops_updates_and_then_whole_events_the_oldest_first():
    ledger = DeliveryStats()
    queue = MemoryEventStore(ledger, most=4)
    for identifier, phase in [("a", START), ("a", UPDATE), ("a", UPDATE), ("a", END), ("b", START), ("b", END)]:
        queue.put(event(identifier, phase))
    assert ledger.summary().dropped == {"event": 2}
    queue.put(event("c", START))
    assert drain(queue) == [("b", START), ("b", END), ("c", START)]
    assert ledger.summary().dropped == {"event": 4}


def test_what_belongs_to_a_dropped_event_and_comes_later_is_dropped_too():
    ledger = DeliveryStats()
    queue = MemoryEventStore(ledger, most=1)
    queue.put(event("a", START))
    queue.put(event("b", START))
    queue.put(event("a", UPDATE))
    queue.put(event("a", END))
    queue.put(event("b", END))
    assert drain(queue) == []
    assert ledger.summary().dropped == {"event": 5}
    queue.put(event("a", START))  # its end was seen, so nothing of it is remembered
    assert drain(queue) == [("a", START)]


def test_an_event_that_was_begun_keeps_its_end():
    queue = MemoryEventStore(DeliveryStats(), most=2)
    queue.put(event("a", START))
    begun = queue.take()
    assert begun is not None
    queue.settle(begun)
    queue.put(event("a", END))
    for identifier in "bcd":
        queue.put(event(identifier, START))
        queue.put(event(identifier, END))
    assert ("a", END) in drain(queue)


def test_what_was_taken_and_not_settled_comes_back_first_in_its_order():
    queue = MemoryEventStore(DeliveryStats())
    for frame in range(4):
        queue.put(event("a", UPDATE, frame))
    taken = [queue.take() for _ in range(3)]
    queue.settle(taken[1])
    queue.give_back()
    assert [item.message.frame for item in iter(queue.take, None)] == [0, 2, 3]


def test_depth_and_age_count_what_is_on_its_way():
    queue = MemoryEventStore(DeliveryStats())
    assert (queue.depth, queue.age(9.0)) == (0, 0.0)
    queue.put(event("a", START, captured=3.0))
    queue.put(event("a", END, captured=5.0))
    first = queue.take()
    assert (queue.depth, queue.age(9.0)) == (2, 6.0)
    queue.settle(first)
    assert (queue.depth, queue.age(9.0)) == (1, 4.0)
    assert queue.drop_all() == 1
    assert queue.depth == 0


def test_a_flood_of_losses_is_one_line(caplog):
    queue = MemoryEventStore(DeliveryStats(), most=2)
    for number in range(100):
        queue.put(event(str(number), START))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "1 event messages dropped so far" in caplog.text


@given(
    st.lists(st.sampled_from(["start", "update", "end", "take", "take", "settle", "give back"]), max_size=80),
    st.integers(1, 6),
)
def test_whatever_happens_events_are_whole_in_order_and_counted(steps, most):
    """As the one tracker of a line makes them: an event after the other, each from start to end."""
    ledger = DeliveryStats()
    queue = MemoryEventStore(ledger, most)
    number, running, put = 0, False, 0
    flying: list[QueuedEvent] = []
    settled: list[QueuedEvent] = []
    for step in steps:
        phase = {"start": START, "update": UPDATE, "end": END}.get(step)
        if phase is not None and running == (phase is not START):
            number += phase is START
            running = phase is not END
            queue.put(event(str(number), phase, put))
            put += 1
        elif step == "take" and len(flying) < 3 and (taken := queue.take()) is not None:
            flying.append(taken)
        elif step == "settle" and flying:
            settled.append(flying.pop(0))
            queue.settle(settled[-1])
        elif step == "give back":
            flying.clear()
            queue.give_back()
        dropped = ledger.summary().dropped.get("event", 0)
        assert put == len(settled) + queue.depth + dropped
        assert queue.depth <= most + 4  # on top: what was begun, which must be ended
    flying.clear()
    queue.give_back()
    while (taken := queue.take()) is not None:
        settled.append(taken)
        queue.settle(taken)
    frames = [item.message.frame for item in settled]
    assert frames == sorted(set(frames))
    heard: dict[str, list[Phase]] = {}
    for item in settled:
        heard.setdefault(item.message.id, []).append(item.message.phase)
    for identifier, phases in heard.items():
        assert phases[0] is START
        assert phases.count(END) == (identifier != str(number) or not running)

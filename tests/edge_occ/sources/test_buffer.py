from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from edge_occ.sources.buffer import FrameBuffer
from edge_occ.sources.frame import Frame

LONG = 10.0
"""Seconds after which a test that hangs fails."""


def frame(index, rows=1):
    return Frame(index, datetime.now(timezone.utc), 0.0, np.zeros((rows, 1, 3), np.uint8))


class BufferMachine(RuleBasedStateMachine):
    """Every step that would not wait, against a deque."""

    @initialize(capacity=st.integers(1, 4), overwrite=st.booleans())
    def create(self, capacity, overwrite):
        self.buffer = FrameBuffer(capacity, overwrite=overwrite)
        self.model = deque()
        self.capacity, self.overwrite = capacity, overwrite
        self.dropped = self.count = 0
        self.closed = self.finished = False
        self.error = None

    @precondition(lambda self: not self.finished)
    @rule(count=st.integers(1, 6))
    def put(self, count):
        for _ in range(count):
            if self.overwrite or self.closed or len(self.model) < self.capacity:
                self.put_one()

    def put_one(self):
        assert self.buffer.put(frame(self.count)) == (not self.closed)
        if not self.closed:
            self.model.append(self.count)
            if len(self.model) > self.capacity:
                self.model.popleft()
                self.dropped += 1
        self.count += 1

    @precondition(lambda self: self.model or self.finished or self.closed)
    @rule()
    def get(self):
        if self.model:
            assert self.buffer.get().index == self.model.popleft()
        elif self.error is not None and not self.closed:
            with pytest.raises(OSError, match="gone"):
                self.buffer.get()
        else:
            assert self.buffer.get() is None

    # Rarely, so that there is something to end.
    @precondition(lambda self: self.count > 10)
    @rule(error=st.none() | st.just(OSError("gone")))
    def finish(self, error):
        self.buffer.finish(error)
        self.finished, self.error = True, error

    @precondition(lambda self: self.count > 10)
    @rule()
    def close(self):
        self.buffer.close()
        self.closed = True
        self.model.clear()

    def teardown(self):
        if hasattr(self, "buffer"):
            assert self.buffer.dropped == self.dropped


TestBuffer = BufferMachine.TestCase


def produce(buffer, count):
    for index in range(count):
        assert buffer.put(frame(index))
    buffer.finish()


@given(st.integers(1, 5), st.integers(0, 50))
def test_waiting_loses_nothing_between_two_threads(capacity, count):
    buffer = FrameBuffer(capacity, overwrite=False)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(produce, buffer, count)
        assert [f.index for f in iter(buffer.get, None)] == list(range(count))
        done.result(LONG)
    assert buffer.dropped == 0


@given(st.integers(0, 50))
def test_overwriting_keeps_order_and_the_last_and_counts_the_rest(count):
    buffer = FrameBuffer(1, overwrite=True)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(produce, buffer, count)
        got = [f.index for f in iter(buffer.get, None)]
        done.result(LONG)
    assert got == sorted(set(got))
    assert got[-1:] == [count - 1][: min(count, 1)]
    assert len(got) + buffer.dropped == count


def start(function):
    """Call it in a thread that does not outlive a failed test."""
    results = []
    thread = threading.Thread(target=lambda: results.append(function()), daemon=True)
    thread.start()
    return thread, results


def result(started, patience=LONG):
    thread, results = started
    thread.join(patience)
    assert not thread.is_alive(), "still waiting"
    return results[0]


def test_closing_wakes_a_producer_that_waits_for_room():
    buffer = FrameBuffer(1, overwrite=False)
    assert buffer.put(frame(0))
    waiting = start(lambda: buffer.put(frame(1)))
    buffer.close()
    assert result(waiting) is False


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 30))
def test_large_frames_wait_for_room_in_bytes_but_one_is_always_taken(sizes, capacity, most):
    buffer, held, taken = FrameBuffer(capacity, overwrite=False, max_bytes=most), deque(), []
    for index, rows in enumerate(sizes):
        while held and (len(held) == capacity or 3 * (sum(held) + rows) > most):
            taken.append(buffer.get().index)
            held.popleft()
        assert buffer.put(frame(index, rows))
        held.append(rows)
    assert taken == list(range(len(sizes) - len(held)))


def test_a_producer_waits_while_frames_are_too_large_for_more_than_one():
    buffer = FrameBuffer(4, overwrite=False, max_bytes=30)
    assert buffer.put(frame(0, rows=7))
    waiting = start(lambda: buffer.put(frame(1, rows=7)))
    with pytest.raises(AssertionError, match="still waiting"):
        result(waiting, patience=0.2)
    assert buffer.get().index == 0
    assert result(waiting) is True
    assert buffer.get().index == 1


@pytest.mark.parametrize("wake", [FrameBuffer.get, FrameBuffer.close])
def test_a_producer_can_wait_for_room_before_it_has_the_next_frame(wake):
    buffer = FrameBuffer(2, overwrite=False)
    for index in range(2):
        buffer.wait_for_room(frame(index))
        assert buffer.put(frame(index))
    waiting = start(lambda: buffer.wait_for_room(frame(1)))
    with pytest.raises(AssertionError, match="still waiting"):
        result(waiting, patience=0.2)
    wake(buffer)
    assert result(waiting) is None


def test_what_overwrites_always_has_room():
    buffer = FrameBuffer(1, overwrite=True)
    assert buffer.put(frame(0))
    assert result(start(lambda: buffer.wait_for_room(frame(0)))) is None


def test_closing_or_finishing_wakes_a_consumer_that_waits_for_a_frame():
    for wake in ("close", "finish"):
        buffer = FrameBuffer(1, overwrite=True)
        waiting = start(buffer.get)
        getattr(buffer, wake)()
        assert result(waiting) is None


def test_an_error_comes_after_the_frames_before_it():
    buffer = FrameBuffer(4, overwrite=False)
    buffer.put(frame(0))
    buffer.finish(ValueError("broken"))
    assert buffer.get().index == 0
    with pytest.raises(ValueError, match="broken"):
        buffer.get()

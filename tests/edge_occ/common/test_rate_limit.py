"""Log messages that may come many times a second."""

import logging
import threading

from hypothesis import given
from hypothesis import strategies as st

from edge_occ.common.clock import ManualClock
from edge_occ.common.rate_limit import RateLimitedLog


def test_the_first_of_a_kind_are_written_and_the_rest_counted():
    written, clock = [], ManualClock()
    log = RateLimitedLog(written.append, max_messages=2, period=60, clock=clock)
    for number in range(5):
        log("disk", "full %d", number)
        clock.advance(1)
    log("camera", "gone")
    assert written == ["full 0", "full 1", "gone"]
    clock.advance(55)
    log("disk", "full again")
    log("disk", "and again")
    assert written[3:] == ["full again (and 3 more like it before)", "and again"]


def test_a_message_without_details_may_hold_a_percent_sign(caplog):
    RateLimitedLog(logging.getLogger("disk").warning)("disk", "100 % full")
    RateLimitedLog(logging.getLogger("disk").warning)("disk", "%d %% full", 90)
    assert [record.getMessage() for record in caplog.records] == ["100 % full", "90 % full"]


def test_once_is_never_repeated():
    written, clock = [], ManualClock()
    log = RateLimitedLog(written.append, period=60, clock=clock)
    for number in range(3):
        log.once("qos", "QoS %d only", number)
        clock.advance(1e9)
    log.once("retain", "nothing is retained")
    assert written == ["QoS 0 only", "nothing is retained"]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 30)), max_size=80), st.integers(1, 4))
def test_no_kind_is_written_more_often_than_allowed_and_none_is_forgotten(messages, limit):
    written, clock = [], ManualClock()
    log = RateLimitedLog(
        lambda text: written.append((clock.monotonic(), text)), max_messages=limit, period=10, clock=clock
    )
    for kind, pause in messages:
        clock.advance(pause)
        log(kind, kind)
    clock.advance(11)
    for kind in "ab":
        log(kind, kind)
        times = [time for time, text in written if text.startswith(kind)]
        # A window as long as a period touches two periods at most.
        assert all(sum(begun <= time < begun + 10 for time in times) <= 2 * limit for begun in times)
        suppressed = sum(int(text.split()[2]) for _, text in written if text.startswith(kind) and "more" in text)
        assert len(times) + suppressed == sum(name == kind for name, _ in messages) + 1


def test_several_threads_share_the_limit():
    written, clock, barrier = [], ManualClock(), threading.Barrier(8)
    log = RateLimitedLog(written.append, max_messages=3, clock=clock)

    def work():
        barrier.wait()
        for _ in range(50):
            log("kind", "text")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.advance(60)
    log("kind", "text")
    assert written == ["text"] * 3 + [f"text (and {8 * 50 - 3} more like it before)"]

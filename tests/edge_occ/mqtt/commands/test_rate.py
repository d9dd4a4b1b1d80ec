from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_occ.mqtt.commands.rate import TokenBucket


def test_a_burst_is_limited_and_the_rate_comes_back():
    bucket = TokenBucket(10)
    assert [bucket.take(5.0) for _ in range(11)] == [True] * 10 + [False]
    assert [bucket.take(5.25) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 2), max_size=100), st.integers(1, 20))
def test_no_second_has_more_than_twice_the_rate(pauses, rate):
    bucket, now, taken = TokenBucket(rate), 0.0, []
    for pause in pauses:
        now += pause
        if bucket.take(now):
            taken.append(now)
    assert all(sum(first <= other < first + 1 for other in taken) <= 2 * rate for first in taken)

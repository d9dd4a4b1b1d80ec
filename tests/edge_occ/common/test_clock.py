"""The contract of every clock."""

from datetime import datetime, timedelta, timezone

import pytest

from edge_occ.common.clock import ManualClock, SystemClock


@pytest.mark.parametrize("make", [SystemClock, ManualClock])
def test_time_never_goes_backwards_and_is_utc(make):
    clock = make()
    seconds = [clock.monotonic() for _ in range(100)]
    assert seconds == sorted(seconds)
    first, second = clock.now(), clock.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second


def test_the_system_clock_is_the_time_of_day():
    before = datetime.now(timezone.utc)
    assert before <= SystemClock().now() <= datetime.now(timezone.utc)


def test_the_manual_clock_moves_only_when_it_is_advanced():
    start = datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=2)))
    clock = ManualClock(start)
    began = clock.monotonic()
    assert (clock.monotonic(), clock.now()) == (began, start)
    clock.advance(1.5)
    clock.advance(0)
    assert clock.monotonic() - began == 1.5
    assert clock.now() - start == timedelta(seconds=1.5)
    with pytest.raises(ValueError, match="0 seconds or more"):
        clock.advance(-0.1)

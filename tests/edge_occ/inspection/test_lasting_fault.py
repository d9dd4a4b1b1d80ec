"""Faults or silence that last are a state of the device."""

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from edge_occ.inspection.lasting_fault import LastingFault
from edge_occ.sources.faults import Fault, Reason, Unscored


def fault(reason=Reason.BLACK):
    return Fault(0, datetime.now(timezone.utc), Unscored(reason, "details"))


def test_faults_that_go_on_are_a_state_until_the_next_good_frame():
    lasting = LastingFault(5)
    lasting.good(0)
    lasting.fault(fault(), 1)
    lasting.fault(fault(), 5.9)
    assert lasting.state(5.9) is None
    lasting.fault(fault(Reason.FROZEN), 6)
    assert lasting.state(6) == ("frozen", "frozen: details")
    lasting.good(6.1)
    assert lasting.state(6.1) is None


def test_silence_is_a_state_only_once_frames_are_expected():
    lasting = LastingFault(5)
    assert lasting.state(1000) is None
    lasting.expect_frames(1000)
    assert lasting.state(1004.9) is None
    assert lasting.state(1005) == ("silent", "silent: no frame from the source for 5 s or more")
    lasting.good(1006)
    assert lasting.state(1010) is None
    lasting.fault(fault(), 1010)
    assert lasting.state(1015)[0] == "silent"


@given(st.lists(st.tuples(st.sampled_from("gfw"), st.floats(0.1, 6)), max_size=30), st.booleans())
def test_the_state_is_what_the_history_says(steps, expected):
    """``g``: a good frame, ``f``: a fault, ``w``: nothing but time; against the whole history."""
    lasting, now, history = LastingFault(5), 0.0, []
    if expected:
        lasting.expect_frames(0)
    for what, pause in steps:
        now += pause
        if what == "g":
            lasting.good(now)
        elif what == "f":
            lasting.fault(fault(), now)
        if what != "w":
            history.append((what, now))
        heard = history[-1][1] if history else 0
        since_good = next((i for i, (kind, _) in reversed(list(enumerate(history))) if kind == "g"), -1)
        faults = [at for _, at in history[since_good + 1 :]]
        silent = expected and now - heard >= 5
        faulty = bool(faults) and now - faults[0] >= 5
        state = lasting.state(now)
        assert (state and state[0]) == ("silent" if silent else "black" if faulty else None)

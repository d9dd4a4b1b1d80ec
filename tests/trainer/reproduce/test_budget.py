"""Parsing of durations, and the interruption when the time is up."""

import signal
import threading
import time

import pytest

from edge_occ.common.errors import InputError
from edge_occ.common.signals import interruptible
from trainer.reproduce.budget import Budget, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1h30m", 5400), ("0.5h", 1800), (" 2H ", 7200), ("1m1s", 61)]
)
def test_durations(text, seconds):
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "m", "0m", "-1m", "1m1h", "20 minutes", "1e3s"])
def test_anything_else_is_refused(text):
    with pytest.raises(InputError, match="20m"):
        parse_budget(text)


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN], ids=["terminal", "background"])
def test_work_without_a_handler_gets_a_keyboard_interrupt(handler):
    earlier = signal.getsignal(signal.SIGALRM)
    of_tests = signal.signal(signal.SIGINT, handler)
    budget = Budget(0.05)
    try:
        with pytest.raises(KeyboardInterrupt), budget.interrupting():
            while True:
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, of_tests)
    assert budget.used_up
    assert signal.getsignal(signal.SIGALRM) is earlier
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_work_that_can_finish_is_asked_to():
    budget = Budget(0.05)
    with budget.interrupting(), interruptible() as interrupted:
        assert interrupted.wait(60)
    assert budget.used_up


def test_a_budget_without_a_limit_or_in_another_thread_does_not_interrupt():
    assert not Budget(None).used_up
    with Budget(None).interrupting():
        pass

    def in_thread():
        with Budget(1e-9).interrupting():
            done.append(True)

    done = []
    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert done

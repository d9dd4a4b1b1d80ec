"""Signals as requests."""

import os
import signal
import threading

import pytest

from edge_occ.interrupt import interruptible, terminable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_the_second_insists(number):
    before = signal.getsignal(number)
    called = threading.Event()
    with interruptible(called.set) as requested:
        os.kill(os.getpid(), number)
        assert requested.wait(5)
        assert called.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_without_a_signal_nothing_happens():
    with interruptible() as requested:
        pass
    assert not requested.is_set()


def test_other_threads_may_use_it():
    seen = []

    def work():
        with interruptible() as requested:
            seen.append(requested.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


def test_termination_is_as_ctrl_c_and_another_handler_may_come_between():
    before = signal.getsignal(signal.SIGTERM)
    with terminable():
        with interruptible() as requested:
            os.kill(os.getpid(), signal.SIGTERM)
            assert requested.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before

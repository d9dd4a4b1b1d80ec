"""Signals as requests."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from edge_occ.common.signals import INTERRUPTED, ending_at_once, interrupt, interruptible, terminable

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def ignored():
    """SIGINT and SIGHUP are ignored, as in the background of a script that nohup started."""
    earlier = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in earlier.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
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
        with ending_at_once(), terminable(), interruptible() as requested:
            seen.append(requested.is_set())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]


@pytest.mark.parametrize("number", SIGNALS)
def test_termination_is_as_ctrl_c_and_another_handler_may_come_between(number):
    before = signal.getsignal(number)
    with terminable():
        with interruptible() as requested:
            os.kill(os.getpid(), number)
            assert requested.wait(5)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before


def test_what_is_ignored_from_the_beginning_stays_ignored(ignored):
    with terminable(), interruptible() as requested:
        for number in (signal.SIGINT, signal.SIGHUP):
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) is signal.SIG_IGN
        assert not requested.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert requested.wait(5)


def test_a_lost_interrupt_is_made_up_for():
    """An exception in a destructor, or in the callback of a C library, is printed and forgotten."""
    called = threading.Event()
    with terminable():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        with interruptible(called.set) as requested:
            assert requested.is_set()
            assert called.wait(5)
    with terminable(), interruptible() as requested:
        assert not requested.is_set()


def test_an_import_is_finished_first(tmp_path, monkeypatch):
    (tmp_path / "slow_module_of_this_test.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(0.2)\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with terminable(), pytest.raises(KeyboardInterrupt):
        import slow_module_of_this_test

        assert slow_module_of_this_test.whole
        while True:
            time.sleep(0.01)


def test_the_program_can_interrupt_itself():
    with interruptible() as requested:
        interrupt()
        assert requested.is_set()
    with terminable(), pytest.raises(KeyboardInterrupt):
        interrupt()
    with pytest.raises(KeyboardInterrupt):
        interrupt()


@pytest.mark.parametrize("number", SIGNALS)
def test_nothing_is_kept_waiting_where_nothing_has_begun(number):
    code = (
        "import os, time\n"
        "from edge_occ.common.signals import ending_at_once\n"
        "with ending_at_once():\n"
        "    try: os.kill(os.getpid(), %d); time.sleep(60)\n"
        "    finally: print('not at once')"
    )
    done = subprocess.run([sys.executable, "-c", code % number], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "")

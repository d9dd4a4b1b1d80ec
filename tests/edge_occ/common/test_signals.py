"""Signals as requests."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from edge_occ.common.signals import INTERRUPTED, ending_at_once, interrupt, interruptible, reloadable, terminable

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
        assert requested.wait(5)
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


def run_alone(code):
    """In a process without a terminal, which is killed if it hangs."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, start_new_session=True
    )


def test_a_signal_amid_a_wait_for_it_does_not_hang():
    """Event.wait holds the event's lock for a moment, and so does Event.set, where the next signal may come."""
    code = (
        "import os, signal\n"
        "from edge_occ.common.signals import interruptible\n"
        "with interruptible() as requested:\n"
        "    with requested._cond: os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(requested.wait(10))"
    )
    done = run_alone(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_without_a_terminal_sighup_asks_for_a_reload_and_ends_nothing():
    code = (
        "import os, signal\n"
        "from edge_occ.common.signals import interruptible, reloadable, terminable\n"
        "asked = []\n"
        "hang_up = lambda: os.kill(os.getpid(), signal.SIGHUP)\n"
        "with terminable():\n"
        "    with reloadable(lambda: asked.append(1)):\n"
        "        hang_up()\n"
        "        with interruptible() as requested:\n"
        "            hang_up()\n"
        "            assert not requested.is_set()\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "            assert requested.wait(10)\n"
        "            hang_up()\n"
        "        hang_up()\n"
        "    assert len(asked) == 4\n"
        "    try: hang_up()\n"
        "    except KeyboardInterrupt: print('as before')"
    )
    done = run_alone(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "as before\n", "")


def test_reloads_are_not_for_other_threads():
    before = signal.getsignal(signal.SIGHUP)
    seen = []

    def work():
        with reloadable(lambda: None):
            seen.append(signal.getsignal(signal.SIGHUP))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]

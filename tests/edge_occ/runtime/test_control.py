from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from functools import partial

import pytest

from edge_occ.runtime.control import Control


def test_requests_are_carried_out_in_order_in_the_thread_that_asks_for_them():
    control, threads, woken = Control(), [], []
    control.notify(lambda: woken.append(True))

    def act(number):
        threads.append((number, threading.get_ident()))
        return number

    futures = [control.submit(partial(act, n)) for n in range(3)]
    assert (threads, len(woken)) == ([], 3)
    control.run_pending()
    assert [future.result(0) for future in futures] == [0, 1, 2]
    assert threads == [(n, threading.get_ident()) for n in range(3)]


def test_an_error_belongs_to_who_asked_and_the_next_request_is_carried_out():
    control = Control()

    def fail():
        raise ValueError("no such head")

    first, second = control.submit(fail), control.submit(lambda: 7)
    control.run_pending()
    with pytest.raises(ValueError, match="no such head"):
        first.result(0)
    assert second.result(0) == 7


def test_after_the_end_requests_are_cancelled():
    control = Control()
    waiting = control.submit(lambda: 1)
    control.close()
    control.run_pending()
    for future in (waiting, control.submit(lambda: 2)):
        with pytest.raises(CancelledError):
            future.result(0)

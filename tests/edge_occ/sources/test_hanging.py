"""Drivers whose calls do not return."""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pytest
from fakes.capture import RAISE, FakeCapture

from edge_occ.sources.camera import CameraSource, Patience
from edge_occ.sources.hanging import MAX_HANGING, HangingOpener

LIMIT = 0.05
LONG = 10.0


class Hanging(FakeCapture):
    """A capture whose reads hang until they are let go."""

    def __init__(self, let_go: threading.Event) -> None:
        super().__init__()
        self.let_go = let_go

    def read(self):
        self.let_go.wait(LONG)
        return False, None


@pytest.fixture
def let_go():
    event = threading.Event()
    yield event
    event.set()


def test_calls_pass_through_to_a_driver_that_answers():
    capture = FakeCapture([7])
    opened = HangingOpener(lambda device: capture, LONG)("/dev/video0")
    assert opened.isOpened()
    assert opened.set(cv2.CAP_PROP_FPS, 30.0)
    assert opened.get(cv2.CAP_PROP_FPS) == 30.0
    readable, image = opened.read()
    assert readable
    np.testing.assert_array_equal(image, np.full((4, 6, 3), 7, np.uint8))
    opened.release()
    assert (capture.released, opened.isOpened()) == (1, False)


def test_errors_pass_through_too():
    opened = HangingOpener(lambda device: FakeCapture([RAISE]), LONG)("/dev/video0")
    with pytest.raises(cv2.error):
        opened.read()
    opened.release()

    def fail(device):
        raise OSError("no such device")

    with pytest.raises(OSError, match="no such device"):
        HangingOpener(fail, LONG)("/dev/video0")


def test_a_read_that_hangs_is_left_behind_and_its_device_released_when_it_returns(let_go, caplog):
    capture = Hanging(let_go)
    opened = HangingOpener(lambda device: capture, LIMIT)("/dev/video0")
    assert opened.read() == (False, None)
    assert not opened.isOpened()
    assert f"did not return within {LIMIT:g} s" in caplog.text
    opened.release()
    assert capture.released == 0, "the driver still has it"
    let_go.set()
    wait_for_release(capture)


def test_an_opening_that_hangs_counts_as_a_camera_that_does_not_open(let_go):
    capture = FakeCapture([1])

    def open_capture(device):
        let_go.wait(LONG)
        return capture

    opened = HangingOpener(open_capture, LIMIT)("/dev/video0")
    assert not opened.isOpened()
    opened.release()
    let_go.set()
    wait_for_release(capture)


def test_no_more_than_a_few_threads_hang_at_a_time(let_go):
    captures = []

    def open_capture(device):
        captures.append(Hanging(let_go))
        return captures[-1]

    opener = HangingOpener(open_capture, LIMIT)
    for _ in range(3 * MAX_HANGING):
        opened = opener("/dev/video0")
        opened.read()
        opened.release()
    assert len(captures) == MAX_HANGING
    let_go.set()
    for capture in captures:
        wait_for_release(capture)
    again = opener("/dev/video0")
    assert again.isOpened(), "those that hung have returned"
    again.release()


def test_without_a_limit_a_read_is_waited_for():
    pace = threading.Semaphore(0)
    opened = HangingOpener(lambda device: FakeCapture(pace=pace), math.inf)("/dev/video0")
    threading.Timer(0.1, pace.release).start()
    while not opened.read()[0]:
        pass
    opened.release()


def test_a_camera_whose_read_hangs_is_opened_again_and_goes_on(let_go, caplog):
    hanging = Hanging(let_go)
    captures = [hanging, FakeCapture([3])]
    opener = HangingOpener(lambda device: captures.pop(0) if captures else FakeCapture(opened=False), LIMIT)
    with CameraSource("/dev/video0", patience=Patience(lost=LONG), open_capture=opener) as source:
        frame = next(iter(source))
    assert int(frame.image[0, 0, 0]) == 3
    assert "opening it again" in caplog.text
    let_go.set()
    wait_for_release(hanging)


def wait_for_release(capture):
    """Wait until the device is released and the thread of its driver has ended."""
    for thread in threading.enumerate():
        if thread.name == "edge-occ camera driver":
            thread.join(LONG)
    assert capture.released == 1

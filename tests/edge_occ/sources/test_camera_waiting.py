"""Silent and absent cameras, on a clock that only their own reads and openings move."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest

import edge_occ.sources.camera as camera_module
from edge_occ.common.errors import InputError, SourceLost
from edge_occ.sources.camera import CameraSource, Patience
from edge_occ.sources.v4l2 import Identity

FRAME, EMPTY, SILENT, BROKEN = "frame", "empty", "silent", "broken"
SECONDS = {FRAME: 0.04, EMPTY: 0.04, SILENT: 10.0, BROKEN: 0.1}
"""Seconds of a read: V4L2 waits 10 s for a frame, and fails at once where there is no camera any more."""


class World:
    """A camera that plays one script over all its openings, and the clock it moves.

    Args:
        script: what each read gives; afterwards the camera is gone.
        absent: openings that fail, by number, from 0.
        answers: who answers at each asking; afterwards always the last.
    """

    def __init__(self, script, absent=(), answers=(None,)):
        self.script, self.absent, self.answers = iter(script), set(absent), list(answers)
        self.now, self.opened, self.released = 1000.0, [], 0
        self.ended = False

    def monotonic(self):
        return self.now

    def identify(self, device):
        self.now += 0.5
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def open(self, device):
        self.opened.append(device)
        self.now += 0.5
        return Capture(self, opened=len(self.opened) - 1 not in self.absent and not self.ended)


class Capture:
    def __init__(self, world, opened):
        self.world, self.opened = world, opened

    def isOpened(self):
        return self.opened

    def read(self):
        step = next(self.world.script, None)
        if step is None:
            self.world.ended, step = True, BROKEN
        self.world.now += SECONDS[step]
        if step == FRAME:
            return True, np.zeros((4, 6, 3), np.uint8)
        return step == EMPTY, None

    def get(self, prop):
        return 0.0

    def set(self, prop, value):
        return True

    def release(self):
        self.opened = False
        self.world.released += 1


@pytest.fixture
def watch(monkeypatch):
    """Runs a camera through a script; gives the number of frames, the error, and the world."""

    def run(script, absent=(), answers=(None,), **options):
        world = World(script, absent, answers)
        monkeypatch.setattr(camera_module, "time", world)
        for name in ("_RETRY_SECONDS", "_FIRST_PAUSE_SECONDS", "_MAX_PAUSE_SECONDS"):
            monkeypatch.setattr(camera_module, name, 1e-4)
        source = CameraSource("/dev/video9", open_capture=world.open, identify=world.identify, **options)
        with pytest.raises((SourceLost, InputError)) as caught, source:
            list(source)
        return source, caught.value, world

    return run


def given(error):
    """Frames that the camera gave, by its error."""
    return int(str(error).split("after ")[1].split(" frames")[0])


def test_a_camera_that_is_silent_for_hours_is_not_lost(watch):
    _, error, world = watch([FRAME, *[SILENT] * 1000, FRAME])
    assert isinstance(error, SourceLost)
    assert given(error) == 2
    assert world.released == len(world.opened)


def test_every_timeout_of_a_present_camera_is_reported(watch):
    """A watchdog must tell a line that stands still from a run that hangs; a camera that is gone is no sign of life."""
    waits = []
    watch([FRAME, *[SILENT] * 7, FRAME, *[BROKEN] * 3], on_wait=lambda: waits.append(1))
    assert len(waits) == 7


def test_a_silent_camera_is_opened_again_after_the_time_set(watch):
    _, error, world = watch([FRAME, *[SILENT] * 12, FRAME], patience=Patience(reopen=30, lost=0))
    assert given(error) == 2
    # Once in three reads of 10 s, not at every read.
    assert len(world.opened) == 1 + 4


def test_a_triggered_camera_is_never_opened_again_for_its_silence(watch):
    for script in ([FRAME, *[SILENT] * 500, FRAME], [*[SILENT] * 500, FRAME, FRAME]):
        _, error, world = watch(script, triggered=True, patience=Patience(reopen=1, lost=0, silent=1))
        assert given(error) == 2, "before its first frame too"
        assert len(world.opened) == 1


def test_a_triggered_camera_that_is_unplugged_is_lost_all_the_same(watch):
    _, error, _ = watch([FRAME], triggered=True, patience=Patience(lost=5))
    assert isinstance(error, SourceLost)


def test_a_silent_camera_is_lost_after_the_time_set(watch):
    _, error, world = watch([FRAME, *[SILENT] * 50, FRAME], patience=Patience(silent=60))
    assert given(error) == 1
    assert error.exit_code == 5
    assert world.now == pytest.approx(1000 + 1.5 + 0.04 + 60, abs=11)


def test_the_advice_for_a_camera_without_a_first_frame(watch):
    _, error, _ = watch([SILENT] * 50)
    assert isinstance(error, InputError)
    assert "triggered=1" in error.advice


@pytest.mark.parametrize(("lost", "frames"), [(20, 1), (60, 2)])
def test_an_absent_camera_is_waited_for_as_long_as_set(watch, lost, frames):
    """It breaks, and 50 times half a second nothing opens."""
    _, error, _ = watch([FRAME, *[BROKEN] * 10, FRAME], absent=range(1, 51), patience=Patience(lost=lost))
    assert given(error) == frames


def test_an_absent_camera_is_waited_for_endlessly_if_set(monkeypatch):
    world = World([FRAME, *[BROKEN] * 10, FRAME], absent=range(1, 10_000))
    monkeypatch.setattr(camera_module, "time", world)
    for name in ("_RETRY_SECONDS", "_FIRST_PAUSE_SECONDS", "_MAX_PAUSE_SECONDS"):
        monkeypatch.setattr(camera_module, name, 1e-6)
    patience = Patience(lost=math.inf)
    with CameraSource("/dev/video9", patience=patience, open_capture=world.open, identify=world.identify) as source:
        first = next(iter(source))
        second = next(iter(source))
    assert (first.index, second.index) == (0, 1)
    assert second.captured_monotonic - first.captured_monotonic > 4000


def test_a_read_that_succeeds_and_gives_nothing_is_a_failed_one(watch):
    _, error, world = watch([FRAME, EMPTY, FRAME, EMPTY, EMPTY, FRAME], patience=Patience(lost=0))
    assert given(error) == 3
    assert len(world.opened) == 1


def test_silence_is_logged_a_few_times_and_its_end_once(watch, caplog):
    caplog.set_level(logging.INFO)
    watch([FRAME, *[SILENT] * 300, FRAME])
    told = [record.message for record in caplog.records if "gave no frame" in record.message]
    assert len(told) == 3
    assert sum("gives frames again, after 3" in record.message for record in caplog.records) == 1


MINE, TWIN = Identity("Cam", "usb-1"), Identity("Cam", "usb-2")


def test_another_camera_at_the_same_number_is_refused_and_logged(watch, caplog):
    _, error, world = watch([FRAME], answers=[MINE, TWIN], patience=Patience(lost=5))
    assert isinstance(error, SourceLost)
    assert error.found == "another camera, Cam at usb-2, in place of Cam at usb-1, after 1 frames"
    assert len(world.opened) == 1, "the other one was not even opened"
    assert "another camera" in caplog.text


def test_the_same_camera_is_found_by_its_link_when_it_comes_back_with_another_number(watch):
    link = "/dev/v4l/by-id/usb-cam-index0"
    paths = iter([(link, "/dev/video9")])  # the links end with the device
    _, error, world = watch(
        [FRAME, *[BROKEN] * 10, FRAME], answers=[MINE], patience=Patience(lost=5), paths=lambda device: next(paths)
    )
    assert given(error) == 2
    assert set(world.opened[:2]) == {link}


def test_a_link_to_another_camera_is_skipped(watch):
    link = "/dev/v4l/by-id/usb-cam-index0"
    answers = [MINE, TWIN, MINE]  # at the first opening, and twice at the second
    _, error, world = watch(
        [FRAME, *[BROKEN] * 10, FRAME],
        answers=answers,
        patience=Patience(lost=5),
        paths=lambda device: (link, device),
    )
    assert given(error) == 2
    assert world.opened[:2] == [link, "/dev/video9"]

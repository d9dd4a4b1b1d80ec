from __future__ import annotations

import logging
import re
import threading
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes.capture import FAIL, RAISE, FakeCamera, FakeCapture

import edge_occ.sources.camera as camera_module
from edge_occ.common.errors import InputError, SourceLost
from edge_occ.sources.camera import CameraSource, Patience
from edge_occ.sources.capture import open_camera

LONG = 10.0


@pytest.fixture(autouse=True)
def little_patience(monkeypatch):
    monkeypatch.setattr(camera_module, "_FAILING_SECONDS", 0.05)
    monkeypatch.setattr(camera_module, "_RETRY_SECONDS", 0.001)
    monkeypatch.setattr(camera_module, "_FIRST_PAUSE_SECONDS", 0.001)


def numbers(frames):
    return [int(f.image[0, 0, 0]) for f in frames]


def collect(source):
    """All frames up to the error that ends them."""
    frames = []
    with pytest.raises((SourceLost, InputError)) as caught, source:
        frames.extend(source)
    return frames, caught.value


def test_settings_are_requested_in_their_order():
    capture = FakeCapture([1])
    requested = {cv2.CAP_PROP_FOURCC: 1.0, cv2.CAP_PROP_FRAME_WIDTH: 1920.0, cv2.CAP_PROP_BUFFERSIZE: 1.0}
    collect(
        CameraSource("/dev/video0", requested=requested, patience=Patience(lost=0), open_capture=FakeCamera(capture))
    )
    assert list(capture.settings.items()) == list(requested.items())


def test_a_camera_that_chooses_another_size_is_reported(caplog):
    class Stubborn(FakeCapture):
        def get(self, prop):
            return 640.0 if prop == cv2.CAP_PROP_FRAME_WIDTH else super().get(prop)

    collect(
        CameraSource(
            "/dev/video0",
            requested={cv2.CAP_PROP_FRAME_WIDTH: 1920.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0},
            patience=Patience(lost=0),
            open_capture=FakeCamera(Stubborn([1])),
        )
    )
    assert "/dev/video0 was asked for 1920 and gives 640" in caplog.text
    assert "asked for 480" not in caplog.text


@pytest.fixture
def much_patience(monkeypatch):
    monkeypatch.setattr(camera_module, "_FAILING_SECONDS", 3600)


def test_only_the_latest_frame_is_kept_and_drops_are_counted(much_patience):
    step = threading.Semaphore(0)
    capture = FakeCapture(pace=step)
    with CameraSource("/dev/video0", open_capture=FakeCamera(capture)) as source:
        iterator = iter(source)
        step.release()
        first = next(iterator)
        for _ in range(10):
            step.release()
        seen = [first]
        # The last of the ten stays in the slot; how many of the nine before were caught in time is up to the scheduler.
        while seen[-1].index < 10:
            seen.append(next(iterator))
        assert source.live
        assert len(seen) + source.dropped == 11
    indices = [f.index for f in seen]
    assert indices == sorted(set(indices))
    assert capture.released


def test_a_consumer_that_waits_long_gets_the_newest():
    last_read = threading.Event()

    class Watched(FakeCapture):
        def read(self):
            result = super().read()
            if not result[0]:
                last_read.set()
            return result

    with CameraSource("/dev/video0", patience=Patience(lost=60), open_capture=FakeCamera(Watched(range(50)))) as source:
        assert last_read.wait(LONG)
        frame = next(iter(source))
        assert (frame.index, numbers([frame])) == (49, [49])
        assert source.dropped == 49


def test_frames_have_their_time_of_capture():
    frames, _ = collect(
        CameraSource("/dev/video0", patience=Patience(lost=0), open_capture=FakeCamera(FakeCapture([7])))
    )
    (frame,) = frames
    assert frame.name is None
    assert frame.captured_at.utcoffset() == timedelta(0)
    assert frame.image.dtype == np.uint8


@pytest.mark.parametrize("trouble", [FAIL, RAISE])
def test_a_failed_read_is_no_loss(trouble, much_patience):
    camera = FakeCamera(FakeCapture([1, trouble, 2, trouble, trouble, 3]))
    with CameraSource("/dev/video0", patience=Patience(lost=60), open_capture=camera) as source:
        iterator = iter(source)
        seen = [next(iterator)]
        while numbers(seen)[-1] != 3:
            seen.append(next(iterator))
    assert seen[-1].index == 2
    assert camera.opens == 1


def test_a_lost_camera_is_opened_again(caplog):
    first, second = FakeCapture([1]), FakeCapture([2])
    camera = FakeCamera(first, *(FakeCapture(opened=False) for _ in range(3)), second)
    taken = threading.Event()

    def open_capture(device):
        assert camera.opens == 0 or taken.wait(LONG), "the first frame must not be overwritten by the second"
        return camera(device)

    caplog.set_level(logging.INFO)
    requested = {cv2.CAP_PROP_FRAME_WIDTH: 640.0}
    with CameraSource(
        "/dev/video0", requested=requested, patience=Patience(lost=60), open_capture=open_capture
    ) as source:
        iterator = iter(source)
        frames = [next(iterator)]
        taken.set()
        frames.append(next(iterator))
    assert numbers(frames) == [1, 2]
    assert [f.index for f in frames] == [0, 1]
    assert frames[1].captured_monotonic > frames[0].captured_monotonic
    assert first.released == 1
    assert second.settings == first.settings, "asked for the same as at first"
    assert caplog.text.count("opening it again") >= 1
    assert "gives frames again" in caplog.text


def test_a_camera_lost_for_good():
    capture = FakeCapture([1, 2])
    camera = FakeCamera(capture)
    frames, error = collect(CameraSource("/dev/video5", patience=Patience(lost=0.2), open_capture=camera))
    assert frames[-1].index == 1
    assert isinstance(error, SourceLost)
    assert error.exit_code == 5
    assert error.expected == "frames from /dev/video5"
    assert re.fullmatch(r"none for [0-9.]+ s, after 2 frames", error.found)
    assert error.advice == "check its cable and power"
    assert camera.opens > 2, "it was tried more than once"
    assert capture.released


def test_a_camera_that_opens_but_never_gives_a_frame():
    camera = FakeCamera(*(FakeCapture() for _ in range(100)))
    _, error = collect(CameraSource("/dev/video0", patience=Patience(lost=0.2), open_capture=camera))
    assert isinstance(error, InputError)
    assert "try another size" in error.advice
    assert camera.opens > 1
    assert all(c.released for c in camera.captures[: camera.opens])


def test_leaving_while_the_camera_is_lost_ends_the_thread_at_once():
    reopening, captures = threading.Event(), [FakeCapture([1])]

    def open_capture(device):
        if captures:
            return captures.pop()
        reopening.set()
        return FakeCapture(opened=False)

    with CameraSource("/dev/video0", patience=Patience(lost=3600), open_capture=open_capture) as source:
        assert next(iter(source)).index == 0
        assert reopening.wait(LONG)


def absent(device):
    """The error of a camera that is not there, which is waited for no time at all."""
    frames, error = collect(CameraSource(str(device), patience=Patience(lost=0), open_capture=FakeCamera()))
    assert frames == []
    assert isinstance(error, InputError)
    return error


def test_the_error_for_a_missing_camera_lists_those_present(tmp_path):
    device = str(tmp_path / "video7")
    error = absent(device)
    assert error.expected == f"a camera at {device}"
    there = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*")))
    assert error.found == (there or "no /dev/video* at all")
    assert "plug" in error.advice


def test_cameras_found_are_listed(monkeypatch):
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([Path("/dev/video4"), Path("/dev/video2")]))
    assert absent("/dev/no-such-camera").found == "/dev/video2, /dev/video4"


def test_a_camera_in_use_or_forbidden(tmp_path, monkeypatch):
    device = tmp_path / "video0"
    device.touch()
    assert "fuser" in absent(device).advice
    monkeypatch.setattr(camera_module.os, "access", lambda path, mode: False)
    assert "usermod -aG video" in absent(device).advice


def test_a_camera_that_is_absent_at_the_start_is_waited_for(caplog):
    opened = threading.Event()

    def open_capture(device):
        """Nothing is there until the first failure was seen."""
        if opened.is_set():
            return FakeCapture([5])
        opened.set()
        return FakeCapture(opened=False)

    with CameraSource("/dev/video41", patience=Patience(lost=LONG), open_capture=open_capture) as source:
        frame = next(iter(source))
    assert (frame.index, numbers([frame])) == (0, [5])
    assert "expected a camera at /dev/video41" in caplog.text
    assert f"waiting for it, for {LONG:g} s at most" in caplog.text


def test_the_real_opener_fails_quietly(tmp_path, capfd):
    missing = next(n for n in range(999, 0, -1) if not Path(f"/dev/video{n}").exists())
    link = tmp_path / "by-id"
    link.symlink_to(f"/dev/video{missing}")
    for device in (f"/dev/video{missing}", str(link), str(tmp_path / "not-a-camera")):
        capture = open_camera(device)
        assert not capture.isOpened()
        assert capture.read() == (False, None)
        capture.release()
    assert capfd.readouterr().err == ""

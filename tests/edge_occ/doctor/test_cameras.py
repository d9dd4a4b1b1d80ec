"""Cameras: there is none here, so that the driver's answers are those of linux/videodev2.h, packed by hand."""

import dataclasses
import errno
import struct
from pathlib import Path

import pytest

from edge_occ.doctor import cameras
from edge_occ.doctor.cameras import VideoDevice, check_argus, check_camera, check_cameras, read_camera
from edge_occ.doctor.machine import Machine
from edge_occ.doctor.report import CheckState

PC = Machine()
JETSON = Machine(board="NVIDIA Jetson AGX Orin Developer Kit", l4t="36.4.3")
QUERYCAP, REQBUFS = 0x80685600, 0xC0145608
CAPTURE, PLANES, METADATA, STREAMING, DEVICE_CAPS = 0x1, 0x1000, 0x00800000, 0x04000000, 0x80000000


class Driver:
    """Answers as a V4L2 driver does."""

    def __init__(self, own, everything=None, busy=False):
        self.own, self.everything, self.busy = own, everything, busy
        self.asked = []

    def __call__(self, handle, request, data):
        if request == QUERYCAP:
            assert len(data) == 104
            everything = self.own | METADATA | DEVICE_CAPS if self.everything is None else self.everything
            data[:] = struct.pack(
                "=16s32s32sIII3I", b"uvcvideo", b"C920", b"usb", 0x60600, everything, self.own, 0, 0, 0
            )
            return 0
        assert request == REQBUFS
        count, kind, memory, *_ = struct.unpack("=IIIII", data)
        self.asked.append((count, kind, memory))
        if self.busy:
            raise OSError(errno.EBUSY, "busy")
        return 0


@pytest.fixture
def device(tmp_path):
    file = tmp_path / "video0"
    file.touch()
    return file


@pytest.mark.parametrize(("bit", "kind"), [(CAPTURE, 1), (PLANES, 9)])
def test_a_camera_is_known_by_its_own_capabilities(device, bit, kind):
    driver = Driver(bit | STREAMING)
    camera = read_camera(device, driver)
    assert (camera.name, camera.captures, camera.busy, camera.error) == ("C920", True, False, 0)
    assert driver.asked == [(0, kind, 1)]


def test_the_metadata_device_next_to_it_is_none_and_is_left_alone(device):
    # What the whole camera can do says capture too; only device_caps speaks for this node.
    driver = Driver(METADATA | STREAMING, everything=CAPTURE | METADATA | STREAMING | DEVICE_CAPS)
    camera = read_camera(device, driver)
    assert not camera.captures
    assert driver.asked == []
    assert check_camera(PC, camera, set(), set(), "me").state is CheckState.NOTE


def test_an_old_driver_has_only_the_common_capabilities(device):
    assert read_camera(device, Driver(0, everything=CAPTURE)).captures


def test_a_busy_camera(device):
    camera = read_camera(device, Driver(CAPTURE, busy=True))
    assert camera.busy
    check = check_camera(PC, camera, set(), set(), "me")
    assert (check.state, check.fix) == (CheckState.NOTE, f"fuser -v {device}")


def test_what_is_no_video_device_is_reported(device):
    camera = read_camera(device)
    assert camera.error == errno.ENOTTY
    assert check_camera(PC, camera, set(), set(), "me").state is CheckState.WRONG
    assert read_camera(device.with_name("video9")).error == errno.ENOENT


def test_no_permission():
    camera = VideoDevice("/dev/video0", "C920", errno.EACCES)
    outside = check_camera(PC, camera, {"users"}, {"root"}, "me")
    assert (outside.state, outside.fix) == (CheckState.WRONG, "sudo usermod -aG video $USER")
    assert "log in again" in outside.found
    since_login = check_camera(PC, camera, {"users"}, {"me"}, "me")
    assert since_login.fix == "newgrp video"
    other = dataclasses.replace(camera, group="plugdev")
    assert check_camera(PC, other, {"users", "video"}, set(), "me").fix == "sudo usermod -aG plugdev $USER"


def test_a_usable_camera_says_what_to_type():
    check = check_camera(PC, VideoDevice("/dev/video2", "C920", captures=True), set(), set(), "me")
    assert (check.name, check.state, check.found) == ("/dev/video2", CheckState.OK, "C920: --camera 2")


def test_a_csi_sensor_is_not_used_as_it_is():
    sensor = VideoDevice("/dev/video0", "vi-output, imx219 9-0010", captures=True)
    check = check_camera(JETSON, sensor, set(), set(), "me")
    assert check.state is CheckState.NOTE
    assert "CSI" in check.found


def test_the_daemon_of_csi_cameras():
    assert check_argus(JETSON, True).state is CheckState.OK
    stopped = check_argus(JETSON, False)
    assert (stopped.state, stopped.fix) == (CheckState.NOTE, "sudo systemctl restart nvargus-daemon")
    boxed = check_argus(dataclasses.replace(JETSON, container=True), False)
    assert boxed.fix is None
    assert "-v /tmp/argus_socket:/tmp/argus_socket" in boxed.found


def test_this_machine():
    devices = [str(path) for path in Path("/dev").glob("video*")]
    checks = check_cameras(PC)
    assert sorted(check.name for check in checks) == sorted(devices or ["cameras"])
    assert check_cameras(JETSON)[-1].name == "argus"
    if not devices:
        assert checks[0].state is CheckState.NOTE
        assert "--device" in check_cameras(dataclasses.replace(PC, container=True))[0].found


def test_devices_are_in_the_order_of_their_numbers():
    names = [Path(f"/dev/video{number}") for number in (10, 2, 0, 1)]
    assert [path.name for path in sorted(names, key=cameras._number)] == ["video0", "video1", "video2", "video10"]

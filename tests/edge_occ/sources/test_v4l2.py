import struct

import pytest

from edge_occ.sources import v4l2
from edge_occ.sources.v4l2 import Identity, identify, paths_of, query

VIDEO_CAPTURE, DEVICE_CAPS = 0x1, 0x8000_0000


def answering(card=b"HD Webcam", bus=b"usb-0000:00:14.0-2", everything=DEVICE_CAPS | 0x85, own=VIDEO_CAPTURE):
    def ioctl(handle, request, answer):
        assert request == 0x80685600
        answer[:] = struct.pack("16s32s32s6I", b"uvcvideo", card, bus, 6, everything, own, 0, 0, 0)
        return 0

    return ioctl


def test_the_identity_of_a_device():
    assert query(3, answering()) == Identity("HD Webcam", "usb-0000:00:14.0-2", VIDEO_CAPTURE)
    assert query(3, answering(everything=0x5, own=0)).capabilities == 0x5, "an old driver knows no node of its own"
    assert str(query(3, answering(card=b"caf\xe9\0rest"))) == "caf� at usb-0000:00:14.0-2"


def test_no_identity_without_a_camera(tmp_path):
    assert identify(str(tmp_path / "video0")) is None
    (tmp_path / "video0").touch()
    assert identify(str(tmp_path / "video0")) is None, "a file is no V4L2 device"


def test_the_serial_number_is_read_from_the_usb_device(tmp_path, monkeypatch):
    usb = tmp_path / "usb1" / "1-2"
    (usb / "1-2:1.0").mkdir(parents=True)
    (usb / "serial").write_text("A1B2\n")
    (tmp_path / "class" / "video0").mkdir(parents=True)
    (tmp_path / "class" / "video0" / "device").symlink_to(usb / "1-2:1.0")
    monkeypatch.setattr(v4l2, "_DEVICES", tmp_path / "class")
    (tmp_path / "video0").touch()
    assert identify(str(tmp_path / "video0"), answering()).serial == "A1B2"
    (usb / "serial").unlink()
    assert identify(str(tmp_path / "video0"), answering()).serial == ""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (Identity("A", "usb-1", 1, "77"), Identity("A", "usb-9", 1, "77"), True),
        (Identity("A", "usb-1", 1, "77"), Identity("A", "usb-1", 1, "78"), False),
        (Identity("A", "usb-1"), Identity("A", "usb-1"), True),
        (Identity("A", "usb-1"), Identity("A", "usb-2"), False),
        (Identity("A", "usb-1"), Identity("B", "usb-1"), False),
    ],
)
def test_a_camera_is_known_by_its_serial_number_or_its_port(one, other, same):
    assert one.is_same(other) is same


def test_links_lead_back_to_a_camera(tmp_path):
    for number in (0, 2):
        (tmp_path / f"video{number}").touch()
    links = tmp_path / "v4l"
    for kind, name, number in (("by-id", "b", 0), ("by-id", "a", 2), ("by-path", "p", 0)):
        (links / kind).mkdir(parents=True, exist_ok=True)
        (links / kind / name).symlink_to(tmp_path / f"video{number}")
    device = str(tmp_path / "video0")
    assert paths_of(device, links) == (str(links / "by-id" / "b"), str(links / "by-path" / "p"), device)
    assert paths_of(str(links / "by-path" / "p"), links) == (str(links / "by-path" / "p"),)
    assert paths_of(device, tmp_path / "none") == (device,)

"""Identity of V4L2 cameras: device numbers change when cameras are plugged in again."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

LINKS = Path("/dev/v4l")
"""Folder of udev's persistent links: by the device's name and serial number, and by its port."""
_DEVICES = Path("/sys/class/video4linux")

Ioctl = Callable[[int, int, bytearray], int]

# linux/videodev2.h: struct v4l2_capability is driver, card and bus as text, then version, capabilities, device_caps
# and 3 reserved words.
_CAPABILITY, _QUERYCAP = struct.Struct("16s32s32sIII12x"), 0x80685600
_HAS_DEVICE_CAPS = 0x8000_0000


@dataclass(frozen=True)
class Identity:
    """Identity of a V4L2 device.

    Attributes:
        card: its name.
        bus: its port, such as ``usb-0000:00:14.0-2``.
        capabilities: of this node, bits of ``V4L2_CAP_*``.
        serial: number of a USB device, empty if it has none.
    """

    card: str
    bus: str
    capabilities: int = 0
    serial: str = ""

    def is_same(self, other: Identity) -> bool:
        """Return whether both are the same camera: by serial number if it has one, else by port."""
        if self.card != other.card:
            return False
        return self.serial == other.serial if self.serial else self.bus == other.bus

    def __str__(self) -> str:
        return f"{self.card} at {self.bus}"


def query(handle: int, ioctl: Ioctl = fcntl.ioctl) -> Identity:
    """Return the identity of an open device.

    Raises:
        OSError: it is not a V4L2 device.
    """
    answer = bytearray(_CAPABILITY.size)
    ioctl(handle, _QUERYCAP, answer)
    _, card, bus, _, everything, own = _CAPABILITY.unpack(answer)
    return Identity(_text(card), _text(bus), own if everything & _HAS_DEVICE_CAPS else everything)


def identify(device: str, ioctl: Ioctl = fcntl.ioctl) -> Identity | None:
    """Return the identity of the camera at ``device``, ``None`` without one; programs that use it are not disturbed."""
    try:
        handle = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return replace(query(handle, ioctl), serial=_serial(device))
    except OSError:
        return None
    finally:
        os.close(handle)


def paths_of(device: str, links: Path = LINKS) -> tuple[str, ...]:
    """Return the paths at which a camera may be when it is plugged in again, ``device`` itself last.

    They are udev's links to it.  A link has no other paths, as it is persistent itself.
    """
    if os.path.islink(device):  # noqa: PTH114 - Path raises where permission is missing
        return (device,)
    target = os.path.realpath(device)
    found = [link for kind in ("by-id", "by-path") for link in sorted((links / kind).glob("*"))]
    return (*(str(link) for link in found if os.path.realpath(link) == target), device)


def _serial(device: str) -> str:
    """Return the serial number in sysfs; the camera is an interface of a USB device, which has the number."""
    interface = os.path.realpath(_DEVICES / Path(os.path.realpath(device)).name / "device")
    try:
        return (Path(interface).parent / "serial").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="replace")

"""Which camera it is that answers at a device: numbers change hands when cameras are plugged in again."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

LINKS = Path("/dev/v4l")
"""Where udev keeps links that outlast the numbers: by the device's own name and serial number, and by its port."""
_DEVICES = Path("/sys/class/video4linux")

Ioctl = Callable[[int, int, bytearray], int]

# linux/videodev2.h: struct v4l2_capability is driver, card and bus as text, then version, capabilities, device_caps
# and 3 reserved words.
_CAPABILITY, _QUERYCAP = struct.Struct("16s32s32sIII12x"), 0x80685600
_HAS_DEVICE_CAPS = 0x8000_0000


@dataclass(frozen=True)
class Identity:
    """What a V4L2 device says of itself.

    Attributes:
        card: its name.
        bus: where it is plugged in, such as ``usb-0000:00:14.0-2``.
        capabilities: of this node, bits of ``V4L2_CAP_*``.
        serial: number of a USB device, empty if it has none.
    """

    card: str
    bus: str
    capabilities: int = 0
    serial: str = ""

    def is_same(self, other: Identity) -> bool:
        """Whether both are one camera: known by its serial number in any port, without one by its port."""
        if self.card != other.card:
            return False
        return self.serial == other.serial if self.serial else self.bus == other.bus

    def __str__(self) -> str:
        return f"{self.card} at {self.bus}"


def query(handle: int, ioctl: Ioctl = fcntl.ioctl) -> Identity:
    """Ask an open device who it is.

    Raises:
        OSError: it is no V4L2 device.
    """
    answer = bytearray(_CAPABILITY.size)
    ioctl(handle, _QUERYCAP, answer)
    _, card, bus, _, everything, own = _CAPABILITY.unpack(answer)
    return Identity(_text(card), _text(bus), own if everything & _HAS_DEVICE_CAPS else everything)


def identify(device: str, ioctl: Ioctl = fcntl.ioctl) -> Identity | None:
    """Who answers at ``device``; ``None`` where nobody does.  Whoever uses the camera is not disturbed."""
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
    """The paths at which a camera may be found when it is plugged in again, ``device`` itself last.

    They are the links of udev's that lead to it now.  Of a link there are no others: it was named because it lasts.
    """
    if os.path.islink(device):  # noqa: PTH114 - Path raises where permission is missing
        return (device,)
    target = os.path.realpath(device)
    found = [link for kind in ("by-id", "by-path") for link in sorted((links / kind).glob("*"))]
    return (*(str(link) for link in found if os.path.realpath(link) == target), device)


def _serial(device: str) -> str:
    """The serial number in sysfs: a camera is an interface of a USB device, which has the number."""
    interface = os.path.realpath(_DEVICES / Path(os.path.realpath(device)).name / "device")
    try:
        return (Path(interface).parent / "serial").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode(errors="replace")

"""Checks of the cameras: present, permitted to this user, in use by another program."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from edge_occ.doctor.machine import Machine, read_text
from edge_occ.doctor.report import NOTE, OK, WRONG, Check
from edge_occ.sources.v4l2 import Ioctl, query

# linux/videodev2.h: struct v4l2_requestbuffers is count, type, memory, capabilities and 4 more bytes.
_REQUEST, _REQBUFS, _MEMORY_MAPPED = struct.Struct("IIII4x"), 0xC0145608, 1
_BUFFER_TYPES = {0x1: 1, 0x1000: 9}
"""Type of the buffers of a device that can capture, or capture in planes; keys are bits of ``V4L2_CAP_*``."""

ARGUS = Path("/tmp/argus_socket")  # noqa: S108 - NVIDIA's camera daemon listens there


@dataclass(frozen=True)
class VideoDevice:
    """One ``/dev/video*``.

    Attributes:
        path: of the device.
        name: by its driver.
        error: number of the error on opening, 0 if it opened.
        captures: whether it gives pictures; other devices give metadata, or take pictures.
        busy: whether another program streams from it.
        group: the group that can use it.
    """

    path: str
    name: str
    error: int = 0
    captures: bool = False
    busy: bool = False
    group: str = "video"


def check_cameras(machine: Machine) -> list[Check]:
    """Check every camera, and on a Jetson the daemon of its CSI cameras."""
    groups = {_group_name(group) for group in os.getgroups()}
    user = pwd.getpwuid(os.geteuid()).pw_name
    cameras = [read_camera(path) for path in sorted(Path("/dev").glob("video*"), key=_number)]
    checks = [check_camera(machine, camera, groups, _members(camera.group), user) for camera in cameras]
    if not cameras:
        option = "; docker run needs --device /dev/video0 to pass a camera on" if machine.container else ""
        checks.append(Check("cameras", NOTE, f"no /dev/video*; files and folders work as sources{option}"))
    return [*checks, check_argus(machine, ARGUS.exists())] if machine.jetson else checks


def read_camera(path: Path, ioctl: Ioctl = fcntl.ioctl) -> VideoDevice:
    """Read a device's state without disturbing a program that uses it."""
    name, group = read_text(f"/sys/class/video4linux/{path.name}/name"), "video"
    try:
        group = _group_name(path.stat().st_gid)
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            identity = query(handle, ioctl)
            kind = next((kind for bit, kind in _BUFFER_TYPES.items() if identity.capabilities & bit), 0)
            busy = bool(kind) and _is_busy(handle, kind, ioctl)
            return VideoDevice(str(path), name or identity.card, 0, bool(kind), busy, group)
        finally:
            os.close(handle)
    except OSError as error:
        return VideoDevice(str(path), name, error.errno or errno.EIO, group=group)


def check_camera(machine: Machine, camera: VideoDevice, groups: set[str], members: set[str], user: str) -> Check:
    """Check one device.

    Args:
        machine: this machine.
        camera: the device.
        groups: names of the groups of this process.
        members: users in the device's group.
        user: the user of this process.
    """
    name, label = camera.path, camera.name or "camera"
    number = re.fullmatch(r"/dev/video(\d+)", name)
    if camera.error in (errno.EACCES, errno.EPERM):
        if user in members and camera.group not in groups:
            found = f"{label}: you are in group {camera.group}, but this session is older than that"
            return Check(name, WRONG, found, f"newgrp {camera.group}")
        fix = machine.sudo(f"usermod -aG {camera.group} $USER")
        return Check(name, WRONG, f"{label}: no permission; afterwards log in again", fix)
    if camera.busy or camera.error == errno.EBUSY:
        return Check(name, NOTE, f"{label}: in use by another program, which this names", f"fuser -v {name}")
    if camera.error:
        return Check(name, WRONG, f"{label}: {os.strerror(camera.error)}")
    no_use = ""
    if not camera.captures:
        no_use = "gives no pictures; a camera often has such a device next to its own"
    elif camera.name.startswith("vi-output"):  # NVIDIA's video input, which gives the sensor's raw Bayer pattern
        no_use = "a CSI sensor; edge-occ has no source for CSI cameras yet"
    if no_use:
        return Check(name, NOTE, f"{label}: {no_use}")
    return Check(name, OK, f"{label}: --camera {number[1]}" if number else label)


def check_argus(machine: Machine, running: bool) -> Check:
    """Check the daemon that serves the pictures of CSI cameras."""
    if running:
        return Check("argus", OK, "the daemon of CSI cameras runs")
    if machine.container:
        return Check("argus", NOTE, f"no {ARGUS}; CSI cameras need docker run -v {ARGUS}:{ARGUS}")
    fix = machine.sudo("systemctl restart nvargus-daemon")
    return Check("argus", NOTE, "the daemon of CSI cameras does not run", fix)


def _is_busy(handle: int, kind: int, ioctl: Ioctl) -> bool:
    """Return whether another program holds the buffers; a request for none of them frees none."""
    try:
        ioctl(handle, _REQBUFS, bytearray(_REQUEST.pack(0, kind, _MEMORY_MAPPED, 0)))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _number(path: Path) -> tuple[int, str]:
    digits = re.search(r"\d+$", path.name)
    return (int(digits[0]) if digits else -1, path.name)


def _group_name(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:  # a group of the host, seen from inside a container
        return str(number)


def _members(group: str) -> set[str]:
    try:
        return set(grp.getgrnam(group).gr_mem)
    except KeyError:
        return set()

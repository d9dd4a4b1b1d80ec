"""Cameras: which there are, whether this user may use them, whether another program does."""

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
from edge_occ.doctor.report import Check, State
from edge_occ.sources.v4l2 import Ioctl, query

# linux/videodev2.h: struct v4l2_requestbuffers is count, type, memory, capabilities and 4 more bytes.
_REQUEST, _REQBUFS = struct.Struct("IIII4x"), 0xC0145608
_CAPTURE, _CAPTURE_PLANES = 0x1, 0x1000
_TYPES = {_CAPTURE: 1, _CAPTURE_PLANES: 9}
_MEMORY_MAPPED = 1

ARGUS = Path("/tmp/argus_socket")  # noqa: S108 - NVIDIA's camera daemon listens there
_ARGUS_RESTART = "systemctl restart nvargus-daemon"


@dataclass(frozen=True)
class Camera:
    """One ``/dev/video*``.

    Attributes:
        path: of the device.
        name: what its driver calls it.
        error: number of the error on opening, 0 if it opened.
        captures: whether it gives pictures; the others give metadata, or take pictures.
        busy: whether another program streams from it.
        group: to whom the device is given.
    """

    path: str
    name: str
    error: int = 0
    captures: bool = False
    busy: bool = False
    group: str = "video"


def check_cameras(machine: Machine) -> list[Check]:
    """Every camera, and on a Jetson the daemon of its CSI cameras."""
    groups = {_group_name(group) for group in os.getgroups()}
    user = pwd.getpwuid(os.geteuid()).pw_name
    cameras = [read_camera(path) for path in sorted(Path("/dev").glob("video*"), key=_number)]
    checks = [check_camera(machine, camera, groups, _members(camera.group), user) for camera in cameras]
    if not cameras:
        words = "no /dev/video*; files and folders work as sources"
        if machine.container:
            words += "; docker run needs --device /dev/video0 to pass a camera on"
        checks.append(Check("cameras", State.NOTE, words))
    if machine.jetson:
        checks.append(check_argus(machine, ARGUS.exists()))
    return checks


def read_camera(path: Path, ioctl: Ioctl = fcntl.ioctl) -> Camera:
    """Look at a device without disturbing whoever uses it."""
    name = read_text(f"/sys/class/video4linux/{path.name}/name")
    try:
        group = _group_name(path.stat().st_gid)
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return Camera(str(path), name, error.errno or errno.EIO)
    try:
        identity = query(handle, ioctl)
        kind = next((bit for bit in _TYPES if identity.capabilities & bit), 0)
        busy = bool(kind) and _is_busy(handle, _TYPES[kind], ioctl)
        return Camera(str(path), name or identity.card, 0, bool(kind), busy, group)
    except OSError as error:
        return Camera(str(path), name, error.errno or errno.EIO, group=group)
    finally:
        os.close(handle)


def check_camera(machine: Machine, camera: Camera, groups: set[str], members: set[str], user: str) -> Check:
    """What can be said of one device.

    Args:
        machine: where.
        camera: what was found.
        groups: names of the groups of this process.
        members: who is in the device's group.
        user: whose process this is.
    """
    name, label = camera.path, camera.name or "camera"
    if camera.error in (errno.EACCES, errno.EPERM):
        found, fix = f"{label}: no permission; afterwards log in again", f"usermod -aG {camera.group} $USER"
        if user in members and camera.group not in groups:
            found = f"{label}: you are in group {camera.group}, but this session is older than that"
            return Check(name, State.WRONG, found, f"newgrp {camera.group}")
        return Check(name, State.WRONG, found, machine.sudo(fix))
    if camera.busy or camera.error == errno.EBUSY:
        return Check(name, State.NOTE, f"{label}: in use by another program, which this names", f"fuser -v {name}")
    if camera.error:
        return Check(name, State.WRONG, f"{label}: {os.strerror(camera.error)}")
    return Check(name, *_described(camera, label))


def _described(camera: Camera, label: str) -> tuple[State, str]:
    if not camera.captures:
        return State.NOTE, f"{label}: gives no pictures; a camera often has such a device beside the one that does"
    if _is_sensor(camera):
        return State.NOTE, f"{label}: a CSI sensor; edge-occ has no source for CSI cameras yet"
    number = re.fullmatch(r"/dev/video(\d+)", camera.path)
    return State.OK, f"{label}: --camera {number[1]}" if number else label


def check_argus(machine: Machine, running: bool) -> Check:
    """The daemon that hands out the pictures of CSI cameras."""
    if running:
        return Check("argus", State.OK, "the daemon of CSI cameras runs")
    if machine.container:
        found = f"no {ARGUS}; CSI cameras need docker run -v {ARGUS}:{ARGUS}"
        return Check("argus", State.NOTE, found)
    return Check("argus", State.NOTE, "the daemon of CSI cameras does not run", machine.sudo(_ARGUS_RESTART))


def _is_busy(handle: int, kind: int, ioctl: Ioctl) -> bool:
    """Whether somebody else holds the buffers; asking for none gives back none of theirs."""
    try:
        ioctl(handle, _REQBUFS, bytearray(_REQUEST.pack(0, kind, _MEMORY_MAPPED, 0)))
    except OSError as error:
        return error.errno == errno.EBUSY
    return False


def _is_sensor(camera: Camera) -> bool:
    """NVIDIA's video input, which gives the sensor's raw Bayer pattern."""
    return camera.name.startswith("vi-output")


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

"""URIs of sources.

==========================================  ==========================================
``0``, ``v4l2:///dev/video0``               a camera (also a link in ``/dev/v4l/by-id``)
``csi://0``                                 a CSI camera of a Jetson, through GStreamer
``rtsp://host/path``                        a network camera; also ``rtsps://``
``file.mp4``                                a video file, known by its suffix
``folder/``, ``folder/*.png``, ``one.png``  pictures, in natural order
``folder/?watch=1``                         pictures that another program writes there, from now on
==========================================  ==========================================

Options follow a question mark, ``?name=value&name=value``:

- ``fps``: rate of files; requested rate of a camera
- ``loop=1``: files start again at their end, endlessly
- ``live=1``: files are played in real time like a camera: latest frame only, drops counted
- ``watch=1``: pictures as they are completed in a folder, each once; ``watch=all``: those already there first
- ``settle``: seconds for which a file of a watched folder must not change to be complete; 0.3 without it
- ``width``, ``height``: requested size of a camera, in pixels
- ``triggered=1``: a camera is triggered from outside and may be silent for any time
- ``reopen``: seconds of silence after which a camera that is present is opened again
- ``lost``: seconds of absence after which a camera is lost
- ``silent``: seconds of silence after which a camera is lost though it is present

The last three also accept ``never``.  Other options of a network camera's address are the camera's own.  Its user name
and password come from ``EDGE_OCC_RTSP_USERNAME`` and ``EDGE_OCC_RTSP_PASSWORD`` unless the address has them.

A name or a pattern may contain a question mark: a file or folder of exactly that name takes precedence, and
``img?.png`` has no options, as no ``=`` follows its question mark.  ``0`` is always the camera; a file of that name is
``./0``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from edge_occ.common.errors import InputError
from edge_occ.common.images import IMAGE_SUFFIXES
from edge_occ.sources import option_values

VIDEO_SUFFIXES = frozenset(
    {".avi", ".h264", ".h265", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""Suffixes of video files, in lower case."""

_KNOWN = "use 0 or v4l2:///dev/video0 (camera), csi://0, rtsp://host/path, file.mp4, folder/ or 'folder/*.png'"


class SourceKind(str, Enum):
    """Kind of a source."""

    CAMERA = "camera"
    CSI = "CSI camera"
    RTSP = "network camera"
    VIDEO = "video"
    PICTURES = "pictures"
    WATCHED = "watched folder"

    @property
    def is_camera(self) -> bool:
        """True if frames come from a camera."""
        return self in (SourceKind.CAMERA, SourceKind.CSI, SourceKind.RTSP)


@dataclass(frozen=True)
class SourceUri:
    """A parsed URI; the source is not opened.

    Attributes:
        kind: kind of the source.
        target: path of the device, the video file, the folder or the pattern; number of a CSI camera; address of a
            network camera, which may contain a password: print :attr:`name` instead.
        fps: frames a second, in ``(0, 1000]``.
        loop: start again at the end; files only.
        live: in real time, latest frame only; always true for a camera.
        width, height: requested size in pixels; V4L2 and CSI cameras only.
        triggered: the camera is triggered from outside, ``None`` if not specified; cameras only.
        patience: specified fields of :class:`~edge_occ.sources.camera.Patience`, with their values; cameras only.
        everything: give the pictures that are there already, too; watched folders only.
        settle: seconds after which an unchanged file is complete, ``None`` if not specified; watched folders only.
    """

    kind: SourceKind
    target: str
    fps: float | None = None
    loop: bool = False
    live: bool = False
    width: int | None = None
    height: int | None = None
    triggered: bool | None = None
    patience: tuple[tuple[str, float], ...] = ()
    everything: bool = False
    settle: float | None = None

    @property
    def name(self) -> str:
        """The target for messages, without user name and password."""
        if self.kind is SourceKind.CSI:
            return f"csi://{self.target}"
        return without_password(self.target) if self.kind is SourceKind.RTSP else self.target

    def __repr__(self) -> str:
        return f"SourceUri({self.kind.value}, {self.name})"


def without_password(address: str) -> str:
    """Return an address without its user name and password."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@", r"\1", address)


def parse_uri(uri: str) -> SourceUri:
    """Parse the URI of a source; reads the file system only to distinguish names from patterns and options.

    Raises:
        InputError: an unknown scheme, kind of file or option, or a malformed value.
    """
    target, options = _split(uri)
    kind, target = _classify(target)
    if kind is SourceKind.PICTURES and "watch" in options:
        kind = SourceKind.WATCHED
        if not os.path.isdir(target):  # noqa: PTH112 - as in _exists
            raise InputError("an existing folder to watch", target, "make it, or check the path")
    allowed = _OPTIONS[kind]
    for name in options:
        if name not in allowed:
            what = f"{name} in {without_password(uri)}"
            if name in ("width", "height") and not kind.is_camera:
                what += "; files keep their size, the model resizes them"
            raise InputError(f"options of a {kind.value} source: {', '.join(allowed)}", what, f"leave {name} out")
    size = {name: option_values.integer(name, options[name]) for name in ("width", "height") if name in options}
    if kind is SourceKind.CSI and len(size) == 1:
        raise InputError("width and height together", next(iter(size)), "write, say, ?width=1920&height=1080")
    waits = {name: option_values.seconds(name, options[name]) for name in _WAITS if name in options}
    return SourceUri(
        kind,
        target,
        fps=option_values.rate(options["fps"]) if "fps" in options else None,
        loop=option_values.switch("loop", options.get("loop", "0")),
        live=kind.is_camera or option_values.switch("live", options.get("live", "0")),
        triggered=option_values.switch("triggered", options["triggered"]) if "triggered" in options else None,
        **size,
        patience=tuple(waits.items()),
        everything=kind is SourceKind.WATCHED and option_values.watches_everything(options["watch"]),
        settle=option_values.seconds("settle", options["settle"]) if "settle" in options else None,
    )


_WAITS = ("reopen", "lost", "silent")
_CAMERA_OPTIONS = ("fps", "width", "height", "triggered", *_WAITS)
_FILE_OPTIONS = ("fps", "loop", "live")
_OPTIONS = {
    SourceKind.CAMERA: _CAMERA_OPTIONS,
    SourceKind.CSI: _CAMERA_OPTIONS,
    SourceKind.RTSP: ("triggered", *_WAITS),
    SourceKind.VIDEO: _FILE_OPTIONS,
    SourceKind.PICTURES: (*_FILE_OPTIONS, "watch"),
    SourceKind.WATCHED: ("watch", "settle"),
}
_NAMES = tuple(dict.fromkeys(name for names in _OPTIONS.values() for name in names))


def _split(uri: str) -> tuple[str, dict[str, str]]:
    if re.match(r"rtsps?://", uri, re.IGNORECASE):
        return _split_address(uri)
    query = re.fullmatch(rf"(.+)\?([^/?]*=[^/?]*|{'|'.join(_NAMES)})", uri, re.DOTALL)
    if query is None or _exists(uri):
        return uri, {}
    return query[1], _parsed(query[2].split("&"), uri)


def _split_address(uri: str) -> tuple[str, dict[str, str]]:
    """Separate the options from those of the camera itself, which stay in its address."""
    try:
        address = urlsplit(uri)
        _ = address.hostname, address.port
    except ValueError:
        raise InputError("an address like rtsp://host:554/path", without_password(uri), "check it") from None
    own = [option for option in address.query.split("&") if option.partition("=")[0] in _OPTIONS[SourceKind.RTSP]]
    others = [option for option in address.query.split("&") if option not in own]
    return urlunsplit(address._replace(query="&".join(others))), _parsed(own, uri)


def _parsed(options: list[str], uri: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        if name in found:
            raise InputError("every option once", f"{name} twice in {without_password(uri)}", f"leave one {name} out")
        found[name] = value
    return found


def _classify(target: str) -> tuple[SourceKind, str]:
    if re.fullmatch(r"[0-9]{1,3}", target):
        return SourceKind.CAMERA, f"/dev/video{int(target)}"
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", target)
    if scheme is not None:
        return _of_scheme(scheme[1].lower(), target[scheme.end() :], target)
    path = Path(target)
    is_pattern = not _exists(target) and any(sign in target for sign in "*?[")
    if is_pattern or target.endswith("/") or os.path.isdir(target):  # noqa: PTH112 - as in _exists
        return SourceKind.PICTURES, target
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return SourceKind.VIDEO, target
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return SourceKind.PICTURES, target
    raise InputError("a known kind of source", target or "nothing", _KNOWN)


def _of_scheme(scheme: str, rest: str, target: str) -> tuple[SourceKind, str]:
    if scheme == "v4l2" and rest.startswith("/dev/"):
        return SourceKind.CAMERA, rest
    if scheme == "csi" and re.fullmatch(r"[0-9]", rest):
        return SourceKind.CSI, rest
    if scheme in ("rtsp", "rtsps") and urlsplit(target).hostname:
        return SourceKind.RTSP, target
    # The rest of the address may contain a password, so it is not repeated.
    raise InputError("a known kind of source", f"a {scheme}:// address", _KNOWN)


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises where permission is missing or the name too long

"""URIs of sources.

==========================================  ==========================================
``0``, ``v4l2:///dev/video0``               a camera (also a link in ``/dev/v4l/by-id``)
``file.mp4``                                a video file, known by its suffix
``folder/``, ``folder/*.png``, ``one.png``  pictures, in natural order
==========================================  ==========================================

Options follow a question mark, ``?name=value&name=value``:

- ``fps``: rate of files; requested rate of a camera
- ``loop=1``: files start again at their end, endlessly
- ``live=1``: files are played in real time like a camera: latest frame only, drops counted
- ``width``, ``height``: requested size of a camera, in pixels
- ``triggered=1``: a camera is triggered from outside and may be silent for any time
- ``reopen``: seconds of silence after which a camera that is present is opened again
- ``lost``: seconds of absence after which a camera is lost
- ``silent``: seconds of silence after which a camera is lost though it is present

The last three also accept ``never``.

A name or a pattern may contain a question mark: a file or folder of exactly that name takes precedence, and
``img?.png`` has no options, as no ``=`` follows its question mark.  ``0`` is always the camera; a file of that name is
``./0``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from edge_occ.common.errors import InputError
from edge_occ.common.images import IMAGE_SUFFIXES
from edge_occ.sources.camera import DEFAULT_PATIENCE, CameraSource, Patience
from edge_occ.sources.files import FileSource
from edge_occ.sources.frame import Source
from edge_occ.sources.pictures import Pictures
from edge_occ.sources.videos import Video

VIDEO_SUFFIXES = frozenset(
    {".avi", ".h264", ".h265", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4"}
    | {".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""Suffixes of video files, in lower case."""

_KNOWN = "use 0 or v4l2:///dev/video0 (camera), file.mp4, folder/ or 'folder/*.png'"


class SourceKind(str, Enum):
    """Kind of a source."""

    CAMERA = "camera"
    VIDEO = "video"
    PICTURES = "pictures"


@dataclass(frozen=True)
class SourceUri:
    """A parsed URI; the source is not opened.

    Attributes:
        kind: kind of the source.
        target: path of the device, the video file, the folder or the pattern.
        fps: frames a second, in ``(0, 1000]``.
        loop: start again at the end; files only.
        live: in real time, latest frame only; always true for a camera.
        width, height: requested size in pixels; cameras only.
        triggered: the camera is triggered from outside, ``None`` if not specified; cameras only.
        patience: specified fields of :class:`~edge_occ.sources.camera.Patience`, with their values; cameras only.
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


def parse_uri(uri: str) -> SourceUri:
    """Parse the URI of a source; reads the file system only to distinguish names from patterns and options.

    Raises:
        InputError: an unknown scheme, kind of file or option, or a malformed value.
    """
    target, options = _split(uri)
    kind, target = _classify(target)
    allowed = _CAMERA_OPTIONS if kind is SourceKind.CAMERA else _FILE_OPTIONS
    for name in options:
        if name not in allowed:
            what = f"{name} in {uri}"
            if name in ("width", "height"):
                what += "; files keep their size, the model resizes them"
            raise InputError(f"options of a {kind.value} source: {', '.join(allowed)}", what, f"leave {name} out")
    size = {name: _integer(name, options[name]) for name in ("width", "height") if name in options}
    waits = {name: _seconds(name, options[name]) for name in _WAITS if name in options}
    return SourceUri(
        kind,
        target,
        fps=_rate(options["fps"]) if "fps" in options else None,
        loop=_switch("loop", options.get("loop", "0")),
        live=kind is SourceKind.CAMERA or _switch("live", options.get("live", "0")),
        triggered=_switch("triggered", options["triggered"]) if "triggered" in options else None,
        **size,
        patience=tuple(waits.items()),
    )


def open_source(
    uri: str,
    patience: Patience = DEFAULT_PATIENCE,
    *,
    triggered: bool = False,
    white: int | None = None,
    on_wait: Callable[[], None] = lambda: None,
) -> Source:
    """Return the source of a URI, to be used in a ``with`` block.

    Args:
        uri: the URI.
        patience: time limits of a camera, unless the URI sets them.
        triggered: the camera is triggered from outside, unless the URI sets it.
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.common.images.read_image`.
        on_wait: called repeatedly while a camera is present and silent.

    Raises:
        InputError: the URI is invalid, or its files are missing or cannot be read; a camera is opened on entering.
    """
    source = parse_uri(uri)
    if source.kind is SourceKind.CAMERA:
        return CameraSource(
            source.target,
            width=source.width,
            height=source.height,
            fps=source.fps,
            patience=replace(patience, **dict(source.patience)),
            triggered=triggered if source.triggered is None else source.triggered,
            on_wait=on_wait,
        )
    reel = Video(source.target) if source.kind is SourceKind.VIDEO else Pictures(source.target, white)
    return FileSource(reel, fps=source.fps, loop=source.loop, live=source.live)


def is_steady(uri: str, *, triggered: bool = False) -> bool:
    """Return whether a source gives frames without a pause, so that silence is a fault: it is live and not triggered.

    Args:
        uri: of the source.
        triggered: as in :func:`open_source`.

    Raises:
        InputError: the URI is wrong.
    """
    source = parse_uri(uri)
    return source.live and not (triggered if source.triggered is None else source.triggered)


_WAITS = ("reopen", "lost", "silent")
_CAMERA_OPTIONS = ("fps", "width", "height", "triggered", *_WAITS)
_FILE_OPTIONS = ("fps", "loop", "live")


def _split(uri: str) -> tuple[str, dict[str, str]]:
    bare = "|".join({*_CAMERA_OPTIONS, *_FILE_OPTIONS})
    query = re.fullmatch(rf"(.+)\?([^/?]*=[^/?]*|{bare})", uri, re.DOTALL)
    if query is None or _exists(uri):
        return uri, {}
    options: dict[str, str] = {}
    for option in query[2].split("&"):
        name, _, value = option.partition("=")
        if name in options:
            raise InputError("every option once", f"{name} twice in {uri}", f"leave one {name} out")
        options[name] = value
    return query[1], options


def _classify(target: str) -> tuple[SourceKind, str]:
    if re.fullmatch(r"[0-9]{1,3}", target):
        return SourceKind.CAMERA, f"/dev/video{int(target)}"
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", target)
    if scheme is not None:
        device = target[scheme.end() :]
        if scheme[1].lower() == "v4l2" and device.startswith("/dev/"):
            return SourceKind.CAMERA, device
        # The rest of the address may contain a password, so it is not repeated.
        later = ", which is not supported yet" if scheme[1].lower() in ("csi", "rtsp") else ""
        raise InputError("a known kind of source", f"a {scheme[0]} address{later}", _KNOWN)
    path = Path(target)
    is_pattern = not _exists(target) and any(sign in target for sign in "*?[")
    if is_pattern or target.endswith("/") or os.path.isdir(target):  # noqa: PTH112 - as in _exists
        return SourceKind.PICTURES, target
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return SourceKind.VIDEO, target
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return SourceKind.PICTURES, target
    raise InputError("a known kind of source", target or "nothing", _KNOWN)


def _exists(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises where permission is missing or the name too long


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 1000:
        raise InputError("fps as a number above 0, at most 1000", f"fps={text}", "write, say, ?fps=10")
    return rate


def _integer(name: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) == 0:
        raise InputError(f"{name} as a number of pixels", f"{name}={text}", "write, say, ?width=1920&height=1080")
    return int(text)


def _seconds(name: str, text: str) -> float:
    if text == "never":
        return math.inf
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        raise InputError(f"{name} in seconds, or never", f"{name}={text}", f"write, say, ?{name}=60 or ?{name}=never")
    return float(text)


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise InputError(f"{name}=0 or {name}=1", f"{name}={text}", f"write ?{name}=1")
    return text == "1"

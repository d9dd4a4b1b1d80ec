"""The source of a URI: which class reads it, and with which driver."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, urlsplit, urlunsplit

import cv2

from edge_occ.common.errors import InputError
from edge_occ.common.secret import secret
from edge_occ.sources.camera import DEFAULT_PATIENCE, CameraSource, Patience
from edge_occ.sources.capture import (
    RTSP_SECONDS,
    Capture,
    csi_pipeline,
    has_gstreamer,
    open_camera,
    open_csi,
    open_rtsp,
)
from edge_occ.sources.files import FileSource
from edge_occ.sources.frame import Source
from edge_occ.sources.hanging import HangingOpener
from edge_occ.sources.hot_folder import HotFolder
from edge_occ.sources.pictures import Pictures
from edge_occ.sources.uri import SourceKind, SourceUri, parse_uri
from edge_occ.sources.videos import Video

USERNAME, PASSWORD = "EDGE_OCC_RTSP_USERNAME", "EDGE_OCC_RTSP_PASSWORD"
"""Environment variables with the credentials of network cameras."""

HANG_SECONDS = 10.0
"""Time after which a call of a camera's driver is given up: V4L2 and FFmpeg end their own waits after 2 and 5 s."""


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
        on_wait: called repeatedly while a camera is present and silent, or a watched folder has nothing new.

    Raises:
        InputError: the URI is invalid, or its files are missing or cannot be read.  A camera is opened later.
    """
    source = parse_uri(uri)
    if source.kind.is_camera:
        return _camera(source, patience, triggered=triggered, on_wait=on_wait)
    if source.kind is SourceKind.WATCHED:
        settle = {} if source.settle is None else {"settle": source.settle}
        return HotFolder(source.target, everything=source.everything, white=white, on_wait=on_wait, **settle)
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


def _camera(source: SourceUri, patience: Patience, *, triggered: bool, on_wait: Callable[[], None]) -> CameraSource:
    is_triggered = triggered if source.triggered is None else source.triggered
    waits = replace(patience, **dict(source.patience))
    # A trigger may come at any time, so a read that waits for it does not hang.
    limit = math.inf if is_triggered else HANG_SECONDS
    if source.kind is SourceKind.CAMERA:
        return CameraSource(
            source.target,
            requested=_v4l2_settings(source),
            patience=waits,
            triggered=is_triggered,
            open_capture=HangingOpener(open_camera, limit),
            on_wait=on_wait,
        )
    opener, absent = _csi(source) if source.kind is SourceKind.CSI else _rtsp(source)
    return CameraSource(
        source.name,
        patience=waits,
        triggered=is_triggered,
        open_capture=HangingOpener(opener, limit),
        paths=lambda device: (device,),
        identify=lambda _: None,
        absent=lambda _: absent,
        on_wait=on_wait,
    )


def _v4l2_settings(source: SourceUri) -> dict[int, float]:
    # USB cameras have their full rate in Motion JPEG.  The format comes first: sizes and rates depend on it.
    requested = {
        cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
        cv2.CAP_PROP_FRAME_WIDTH: source.width,
        cv2.CAP_PROP_FRAME_HEIGHT: source.height,
        cv2.CAP_PROP_FPS: source.fps,
        cv2.CAP_PROP_BUFFERSIZE: 1,
    }
    return {prop: float(value) for prop, value in requested.items() if value is not None}


def _csi(source: SourceUri) -> tuple[Callable[[str], Capture], InputError]:
    if not has_gstreamer():
        raise InputError(
            f"an OpenCV with GStreamer, for {source.name}",
            f"OpenCV {cv2.__version__} without it, as all wheels of PyPI are",
            "use JetPack's OpenCV (docs/jetson.md), or a camera at /dev/video0",
        )
    pipeline = csi_pipeline(int(source.target), source.width, source.height, source.fps)
    absent = InputError(
        f"a camera at {source.name}",
        "none that Argus opens",
        "check its ribbon cable, and run: sudo systemctl restart nvargus-daemon",
    )
    return lambda _: open_csi(pipeline), absent


def _rtsp(source: SourceUri) -> tuple[Callable[[str], Capture], InputError]:
    address = _with_credentials(source.target)
    absent = InputError(
        f"a network camera at {source.name}",
        f"no stream within {RTSP_SECONDS:g} s",
        f"check address and path; user name and password come from {USERNAME} and {PASSWORD}",
    )
    return lambda _: open_rtsp(address), absent


def _with_credentials(address: str) -> str:
    username = secret(USERNAME)
    parts = urlsplit(address)
    if not username or "@" in parts.netloc:
        return address
    login = f"{quote(username, safe='')}:{quote(secret(PASSWORD) or '', safe='')}@"
    return urlunsplit(parts._replace(netloc=login + parts.netloc))

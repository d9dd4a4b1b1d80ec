"""Cameras and video files opened by OpenCV."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

RTSP_SECONDS = 5.0
"""Time within which a network camera must answer, and then give each frame."""


class Capture(Protocol):
    """The methods of ``cv2.VideoCapture`` that sources use."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """True while there is something to read from."""

    def read(self) -> tuple[bool, Any]:
        """Return whether there was a frame, and the frame, uint8 ``[height, width, 3]`` BGR."""

    def get(self, prop: int, /) -> float:
        """Return the value of a ``cv2.CAP_PROP_*``; 0 if unknown."""

    def set(self, prop: int, value: float, /) -> bool:
        """Request a value of a ``cv2.CAP_PROP_*``; the device may choose another."""

    def release(self) -> None:
        """Close the device or the file."""


def open_video(path: Path) -> Capture:
    """Open a video file; the capture is not opened if that fails.

    Its frames are not rotated, whatever orientation the file specifies: the same rule as for pictures.
    """
    _set_up()
    # An absolute path: FFmpeg parses text before a colon as a protocol.
    capture = cv2.VideoCapture(str(path.absolute()))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return capture


def open_camera(device: str) -> Capture:
    """Open a V4L2 camera by path; the capture is not opened if that fails.

    Links such as those in ``/dev/v4l/by-id`` are resolved at each call, as a camera that is plugged in again may get
    another number.
    """
    _set_up()
    number = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(device))
    return cv2.VideoCapture(int(number[1]), cv2.CAP_V4L2) if number else cv2.VideoCapture()


def open_rtsp(address: str) -> Capture:
    """Open a network camera, over TCP; the capture is not opened if that fails within :data:`RTSP_SECONDS`."""
    _set_up()
    # UDP, FFmpeg's default, loses packets where a switch is busy: torn frames.
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
    milliseconds = int(RTSP_SECONDS * 1000)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    try:
        return cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
    except cv2.error:  # OpenCV without FFmpeg
        return cv2.VideoCapture()


def open_csi(pipeline: str) -> Capture:
    """Open a camera by a GStreamer pipeline, see :func:`csi_pipeline`; the capture is not opened if that fails."""
    _set_up()
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)


def csi_pipeline(sensor: int, width: int | None = None, height: int | None = None, fps: float | None = None) -> str:
    """Return the GStreamer pipeline of a Jetson's CSI camera: only the latest frame is kept, as BGR.

    ``nvvidconv`` converts on the VIC, which also scales, so that neither the CPU nor the GPU does.  A size is the size
    of the frames; the sensor's mode is Argus' choice, at ``fps`` if it is given.

    Args:
        sensor: number of the camera.
        width: of the frames, pixels; given together with ``height``.
        height: of the frames, pixels.
        fps: frames a second.
    """
    rate = "" if fps is None else f",framerate={round(fps * 1000)}/1000"
    size = "" if width is None or height is None else f",width={width},height={height}"
    return " ! ".join(
        (
            f"nvarguscamerasrc sensor-id={sensor}",
            f"video/x-raw(memory:NVMM){rate}",
            "nvvidconv",
            f"video/x-raw,format=BGRx{size}",
            "videoconvert",
            "video/x-raw,format=BGR",
            "appsink drop=1 max-buffers=1 sync=0",
        )
    )


def has_gstreamer() -> bool:
    """Return whether this OpenCV was built with GStreamer; the wheels of PyPI are not."""
    return re.search(r"^\s*GStreamer:\s+YES", cv2.getBuildInformation(), re.MULTILINE) is not None


def read_frame(capture: Capture) -> NDArray[np.uint8] | None:
    """Return the next frame, ``None`` if the read failed or returned an empty image."""
    try:
        readable, image = capture.read()
    except cv2.error:
        return None
    # Shape and type are checked before scoring.
    return image if readable and isinstance(image, np.ndarray) and image.size else None


def _set_up() -> None:
    """Silence OpenCV and FFmpeg, whose errors are reported here, and shorten the timeout of V4L2.

    The environment variables of these libraries take precedence.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # Seconds that a read of a V4L2 camera waits for a frame; OpenCV's default is 10.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # The function is in cv2 or in cv2.utils.logging, depending on the version.
    for module in (cv2, getattr(getattr(cv2, "utils", None), "logging", None)):
        set_level = getattr(module, "setLogLevel", None)
        if set_level is not None:
            set_level(0)

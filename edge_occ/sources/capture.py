"""Cameras and video files opened by OpenCV."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray


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

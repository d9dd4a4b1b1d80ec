"""The one place where OpenCV opens cameras and video files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that sources use."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """True while there is something to read from."""

    def read(self) -> tuple[bool, Any]:
        """Whether there was a frame, and the frame, uint8 ``[height, width, 3]`` BGR."""

    def get(self, prop: int, /) -> float:
        """Value of a ``cv2.CAP_PROP_*``; 0 if unknown."""

    def set(self, prop: int, value: float, /) -> bool:
        """Ask for a value of a ``cv2.CAP_PROP_*``; the device may choose another."""

    def release(self) -> None:
        """Give the device or the file back."""


def open_video(path: Path) -> Capture:
    """Open a video file; the capture is not opened if that fails.

    Its frames stay as they are stored, whatever orientation the file carries: the same rule as for pictures.
    """
    _set_up()
    # An absolute path, for FFmpeg takes what stands before a colon for a protocol.
    capture = cv2.VideoCapture(str(path.absolute()))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return capture


def open_camera(device: str) -> Capture:
    """Open a V4L2 camera by path; the capture is not opened if that fails.

    Links such as those in ``/dev/v4l/by-id`` are followed at each call, for a camera plugged in again may get another
    number.
    """
    _set_up()
    number = re.fullmatch(r"/dev/video(\d+)", os.path.realpath(device))
    return cv2.VideoCapture(int(number[1]), cv2.CAP_V4L2) if number else cv2.VideoCapture()


def read_frame(capture: Capture) -> NDArray[np.uint8] | None:
    """The next frame, or ``None`` where the read failed, or succeeded and gave nothing."""
    try:
        readable, image = capture.read()
    except cv2.error:
        return None
    # Its shape and type are checked where it is scored.
    return image if readable and isinstance(image, np.ndarray) and image.size else None


def _set_up() -> None:
    """Keep OpenCV and FFmpeg from telling standard error what we report ourselves, and V4L2 from waiting long;
    their own variables override it.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # A read of a V4L2 camera that gives no frame holds the thread for so many seconds, by default for 10.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")
    if "OPENCV_LOG_LEVEL" in os.environ:
        return
    # The function moved from cv2 to cv2.utils.logging, and neither is in every version.
    for module in (cv2, getattr(getattr(cv2, "utils", None), "logging", None)):
        set_level = getattr(module, "setLogLevel", None)
        if set_level is not None:
            set_level(0)

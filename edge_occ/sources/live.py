"""Frames from a camera: the latest one only, and opened again when it is lost."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.errors import InputError, SourceLost
from edge_occ.sources.base import Frame
from edge_occ.sources.capture import Capture, open_camera
from edge_occ.sources.threaded import ThreadedSource

logger = logging.getLogger(__name__)

_PATIENCE_SECONDS = 1.0
"""Failed reads are forgiven for so long: a damaged JPEG frame is no reason to open the camera again."""
_RETRY_SECONDS = 0.02
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 4.0


class CameraSource(ThreadedSource):
    """A V4L2 camera, asked for motion JPEG, which is what gives USB cameras their full rate.

    The moment of capture is when the driver handed the frame over; exposure and transfer lie before it.

    Args:
        device: path, such as ``/dev/video0`` or a link in ``/dev/v4l/by-id``.
        width, height: size to ask for, in pixels.
        fps: rate to ask for.
        reopen_seconds: how long to try again after the last frame before the camera counts as lost.
        open_capture: opens the device; tests put a fake here.

    Raises:
        InputError: on entering, the camera does not open; on iterating, it never gave a frame.
        SourceLost: on iterating, it gave frames and then none for ``reopen_seconds``.
    """

    def __init__(
        self,
        device: str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        reopen_seconds: float = 30.0,
        open_capture: Callable[[str], Capture] = open_camera,
    ) -> None:
        super().__init__(live=True)
        self._device, self._reopen_seconds, self._open_capture = device, reopen_seconds, open_capture
        # The format comes first, for it decides which sizes and rates there are.
        wanted = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
        self._wanted = {prop: float(value) for prop, value in wanted.items() if value is not None}
        self._capture: Capture

    def __enter__(self) -> CameraSource:
        self._capture = self._open()
        if not self._capture.isOpened():
            raise _no_camera(self._device)
        for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS):
            got = self._capture.get(prop)
            if prop in self._wanted and got != self._wanted[prop]:
                logger.warning("%s was asked for %g and gives %g", self._device, self._wanted[prop], got)
        return super().__enter__()

    def _frames(self) -> Generator[Frame, None, None]:
        capture, index, pause = self._capture, 0, _FIRST_PAUSE_SECONDS
        alive = time.monotonic()
        try:
            while not self._stop.is_set():
                image = self._read_patiently(capture)
                if image is not None:
                    if pause != _FIRST_PAUSE_SECONDS:
                        logger.info("%s gives frames again", self._device)
                    alive, pause = time.monotonic(), _FIRST_PAUSE_SECONDS
                    yield Frame(index, datetime.now(timezone.utc), alive, image)
                    index += 1
                    continue
                capture.release()
                left = alive + self._reopen_seconds - time.monotonic()
                if left <= 0:
                    raise self._lost(index)
                if pause == _FIRST_PAUSE_SECONDS:
                    logger.warning("%s gives no frames; opening it again, for %.0f s at most", self._device, left)
                if self._stop.wait(min(pause, left)):
                    return
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                capture = self._open()
        finally:
            capture.release()

    def _read_patiently(self, capture: Capture) -> NDArray[np.uint8] | None:
        """One frame, or ``None`` when the camera is closed, lost or no longer wanted."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while capture.isOpened():
            try:
                readable, image = capture.read()
            except cv2.error:
                readable = False
            if readable:
                return np.asarray(image, dtype=np.uint8)
            if time.monotonic() >= until or self._stop.wait(_RETRY_SECONDS):
                break
        return None

    def _open(self) -> Capture:
        capture = self._open_capture(self._device)
        if capture.isOpened():
            for prop, value in self._wanted.items():
                capture.set(prop, value)
        return capture

    def _lost(self, frames: int) -> InputError | SourceLost:
        found = f"none for {self._reopen_seconds:g} s"
        if frames:
            return SourceLost(
                f"frames from {self._device}", f"{found}, after {frames} frames", "check its cable and power"
            )
        return InputError(f"frames from {self._device}", found, "try another size, say ?width=640&height=480")


def _no_camera(device: str) -> InputError:
    expected = f"a camera at {device}"
    if not Path(device).exists():
        cameras = ", ".join(str(path) for path in sorted(Path("/dev").glob("video*")))
        if not cameras:
            return InputError(expected, "no /dev/video* at all", "plug the camera in; in a container, pass its device")
        return InputError(expected, cameras, "plug it in, or name one of those found")
    if not os.access(device, os.R_OK | os.W_OK):
        return InputError(expected, "no permission to use it", "run: sudo usermod -aG video $USER, then log in again")
    return InputError(
        expected, "a device that does not open as a camera", f"close the program that uses it: fuser {device}"
    )

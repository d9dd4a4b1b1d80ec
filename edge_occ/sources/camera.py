"""Frames from a camera, the latest one only.  A silent camera is waited for; one that is gone is lost."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError, SourceLost
from edge_occ.common.rate_limit import RateLimitedLog
from edge_occ.sources.capture import Capture, open_camera, read_frame
from edge_occ.sources.frame import Frame
from edge_occ.sources.reader import ThreadedSource
from edge_occ.sources.v4l2 import Identity, identify, paths_of

logger = logging.getLogger(__name__)

_FAILING_SECONDS = 1.0
"""Time of reads that fail at once before the camera is opened again; a damaged JPEG frame is no reason to."""
_TIMEOUT_SECONDS = 0.5
"""Duration from which a read without a frame is a timeout: the camera is present and silent."""
_RETRY_SECONDS = 0.02
_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.1, 4.0


@dataclass(frozen=True)
class Patience:
    """Time limits of a camera without frames, in seconds; :data:`math.inf` for none.

    Attributes:
        reopen: silence after which the camera is opened again.
        lost: absence, or reads that fail at once, after which it is lost.
        silent: silence after which it is lost though it is present.
    """

    reopen: float = 30.0
    lost: float = 30.0
    silent: float = math.inf


DEFAULT_PATIENCE = Patience()


class CameraSource(ThreadedSource):
    """A V4L2 camera in motion JPEG, the format in which USB cameras have their full rate.

    The time of capture is when the driver returned the frame, after exposure and transfer.  A camera that is opened
    again must be the same one.

    Args:
        device: path, such as ``/dev/video0`` or a link in ``/dev/v4l/by-id``.
        width, height: requested size, in pixels.
        fps: requested rate.
        patience: time limits without frames.
        triggered: each frame is triggered from outside, so the camera may be silent for any time, also before the first
            frame: it is neither opened again nor lost.
        open_capture: opens the device; replaced in tests.
        identify: returns which camera is at a path, ``None`` if none is.
        on_wait: called in the reader thread each time a read of a present camera timed out.

    Raises:
        InputError: on entering, the camera does not open; on iterating, it never returned a frame.
        SourceLost: on iterating, after its first frame it was gone or silent for longer than ``patience`` allows.
    """

    def __init__(  # noqa: PLR0913 - requested format, time limits, and three seams
        self,
        device: str,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        patience: Patience = DEFAULT_PATIENCE,
        triggered: bool = False,
        open_capture: Callable[[str], Capture] = open_camera,
        identify: Callable[[str], Identity | None] = identify,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(live=True)
        self._device, self._triggered = device, triggered
        self._patience = Patience(math.inf, patience.lost, math.inf) if triggered else patience
        self._open_capture, self._identify, self._on_wait = open_capture, identify, on_wait
        # The format comes first: the available sizes and rates depend on it.
        requested = {
            cv2.CAP_PROP_FOURCC: cv2.VideoWriter.fourcc(*"MJPG"),
            cv2.CAP_PROP_FRAME_WIDTH: width,
            cv2.CAP_PROP_FRAME_HEIGHT: height,
            cv2.CAP_PROP_FPS: fps,
            cv2.CAP_PROP_BUFFERSIZE: 1,
        }
        self._requested = {prop: float(value) for prop, value in requested.items() if value is not None}
        self._warn = RateLimitedLog(logger.warning, max_messages=3, period=3600)
        self._paths: tuple[str, ...] = (device,)
        self._identity: Identity | None = None
        self._found = ""
        self._capture: Capture

    def __enter__(self) -> CameraSource:
        self._paths, self._identity = paths_of(self._device), self._identify(self._device)
        capture = self._open()
        if capture is None:
            raise _no_camera(self._device)
        self._capture = capture
        return super().__enter__()

    def _frames(self) -> Generator[Frame, None, None]:
        capture: Capture | None = self._capture
        index, pause = 0, _FIRST_PAUSE_SECONDS
        last = present = opened = time.monotonic()
        try:
            while not self._stop.is_set():
                image, waited = self._next(capture)
                now = time.monotonic()
                if image is not None:
                    self._log_return(now - last)
                    last = present = opened = now
                    pause = _FIRST_PAUSE_SECONDS
                    yield Frame(index, datetime.now(timezone.utc), now, image)
                    index += 1
                    continue
                if waited:
                    present, pause = now, _FIRST_PAUSE_SECONDS
                    self._on_wait()
                self._check_patience(index, silent=now - last, gone=None if waited else now - present)
                if waited and now - opened < self._patience.reopen:
                    continue
                self._warn_of_silence(now - last, waited=waited)
                if capture is not None:
                    capture.release()
                    capture = None
                if not waited and self._stop.wait(min(pause, max(self._patience.lost - (now - present), 0.0))):
                    return
                pause = min(2 * pause, _MAX_PAUSE_SECONDS)
                capture, opened = self._open(), time.monotonic()
        finally:
            if capture is not None:
                capture.release()

    def _next(self, capture: Capture | None) -> tuple[NDArray[np.uint8] | None, bool]:
        """Return a frame, or ``None`` and whether the camera is present and the read timed out."""
        until = time.monotonic() + _FAILING_SECONDS
        while capture is not None and capture.isOpened():
            begun = time.monotonic()
            image = read_frame(capture)
            now = time.monotonic()
            if image is not None:
                return image, False
            if now - begun >= _TIMEOUT_SECONDS:
                return None, True
            if now >= until or self._stop.wait(_RETRY_SECONDS):
                break
        return None, False

    def _open(self) -> Capture | None:
        """Open the camera at any of its paths; ``None`` if it is absent or another one is in its place."""
        self._found = ""
        for path in self._paths:
            found = self._identify(path)
            if self._identity is not None and found is not None and not self._identity.is_same(found):
                self._found = f"another camera, {found}, in place of {self._identity}"
                self._warn("other", f"{path}: {self._found}")
                continue
            capture = self._open_capture(path)
            if capture.isOpened():
                self._configure(capture)
                return capture
            capture.release()
        return None

    def _configure(self, capture: Capture) -> None:
        for prop, value in self._requested.items():
            capture.set(prop, value)
        for prop in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS):
            got = capture.get(prop)
            if prop in self._requested and got != self._requested[prop]:
                text = f"{self._device} was asked for {self._requested[prop]:g} and gives {got:g}"
                self._warn(f"setting {prop}", text)

    def _warn_of_silence(self, silent: float, *, waited: bool) -> None:
        if waited:
            self._warn("silent", f"{self._device} gave no frame for {silent:.0f} s; opening it again and waiting")
        else:
            limit = "" if math.isinf(self._patience.lost) else f", for {self._patience.lost:g} s at most"
            self._warn("gone", f"{self._device} gives no frames; opening it again{limit}")

    def _log_return(self, silent: float) -> None:
        if silent >= _FAILING_SECONDS:
            logger.info("%s gives frames again, after %.0f s", self._device, silent)

    def _check_patience(self, frames: int, *, silent: float, gone: float | None) -> None:
        """Raise if the camera is silent or gone for too long, after ``frames`` frames."""
        patience = self._patience
        # An untriggered camera without a first frame was probably set to a size that it cannot send.
        max_silent = patience.silent if frames or self._triggered else min(patience.lost, patience.silent)
        if (gone is None or gone < patience.lost) and silent < max_silent:
            return
        expected = f"frames from {self._device}"
        found = self._found or f"none for {silent:.3g} s"
        if frames:
            raise SourceLost(expected, f"{found}, after {frames} frames", "check its cable and power")
        advice = "try another size, say ?width=640&height=480; or ?triggered=1 for a triggered camera"
        raise InputError(expected, found, advice)


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

"""Frames from a camera, the latest one only.  A silent camera is waited for; one that is gone is lost."""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError, SourceLost, UserError
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
    """A camera: its latest frame only.

    The time of capture is when the driver returned the frame, after exposure and transfer.  A camera that is absent at
    the start is waited for, as one that is gone later.  A V4L2 camera that is opened again must be the same one.

    Args:
        device: name in messages, without a password; of a V4L2 camera its path, such as ``/dev/video0`` or a link in
            ``/dev/v4l/by-id``.
        requested: properties that are set on opening, ``cv2.CAP_PROP_*`` to value, in this order.
        patience: time limits without frames.
        triggered: each frame is triggered from outside, so the camera may be silent for any time, also before the first
            frame: it is neither opened again nor lost.
        open_capture: opens one of ``paths``.
        paths: returns the paths at which the device may be found.
        identify: returns which camera is at a path, ``None`` if none is.
        absent: returns the error for a device that never opened.
        on_wait: called in the reader thread each time a read of a present camera timed out.

    Raises:
        InputError: on iterating, it never returned a frame.
        SourceLost: on iterating, after its first frame it was gone or silent for longer than ``patience`` allows.
    """

    def __init__(  # noqa: PLR0913 - requested format, time limits, and four seams
        self,
        device: str,
        *,
        requested: Mapping[int, float] = MappingProxyType({}),
        patience: Patience = DEFAULT_PATIENCE,
        triggered: bool = False,
        open_capture: Callable[[str], Capture] = open_camera,
        paths: Callable[[str], tuple[str, ...]] = paths_of,
        identify: Callable[[str], Identity | None] = identify,
        absent: Callable[[str], UserError] | None = None,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(live=True)
        self._device, self._triggered, self._requested = device, triggered, requested
        self._patience = Patience(math.inf, patience.lost, math.inf) if triggered else patience
        self._open_capture, self._identify, self._on_wait = open_capture, identify, on_wait
        self._find_paths, self._absent = paths, absent or no_camera
        self._paths: tuple[str, ...] = ()
        self._warn = RateLimitedLog(logger.warning, max_messages=3, period=3600)
        self._identity: Identity | None = None
        self._found = ""

    def _frames(self) -> Generator[Frame, None, None]:
        index, pause = 0, _FIRST_PAUSE_SECONDS
        last = present = opened = time.monotonic()
        capture = self._open()
        if capture is None:
            self._warn("absent", f"{self._absent(self._device)}; waiting for it{self._limit()}")
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
                # At random, so that several cameras behind one hub are not opened at the same moment again and again.
                pause = min(2 * pause, _MAX_PAUSE_SECONDS) * random.uniform(0.75, 1.0)  # noqa: S311 - no secret
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
            if now - begun >= _TIMEOUT_SECONDS and capture.isOpened():
                return None, True
            if now >= until or self._stop.wait(_RETRY_SECONDS):
                break
        return None, False

    def _open(self) -> Capture | None:
        """Open the camera at any of its paths; ``None`` if it is absent or another one is in its place."""
        self._found = ""
        paths = self._paths or self._find_paths(self._device)
        for path in paths:
            found = self._identify(path)
            if self._identity is not None and found is not None and not self._identity.is_same(found):
                self._found = f"another camera, {found}, in place of {self._identity}"
                self._warn("other", f"{path}: {self._found}")
                continue
            capture = self._open_capture(path)
            if capture.isOpened():
                if not self._paths:  # links to the device end with it, so they are kept from when it was there
                    self._paths, self._identity = paths, found
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
        if not self._paths:
            return
        if waited:
            self._warn("silent", f"{self._device} gave no frame for {silent:.0f} s; opening it again and waiting")
        else:
            self._warn("gone", f"{self._device} gives no frames; opening it again{self._limit()}")

    def _limit(self) -> str:
        return "" if math.isinf(self._patience.lost) else f", for {self._patience.lost:g} s at most"

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
        if not self._paths:
            raise self._absent(self._device)
        expected = f"frames from {self._device}"
        found = self._found or f"none for {silent:.3g} s"
        if frames:
            raise SourceLost(expected, f"{found}, after {frames} frames", "check its cable and power")
        advice = "try another size, say ?width=640&height=480; or ?triggered=1 for a triggered camera"
        raise InputError(expected, found, advice)


def no_camera(device: str) -> InputError:
    """Return the error for a V4L2 device that does not open, with the likely reason."""
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

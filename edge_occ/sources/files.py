"""Frames from files: pictures and videos, lossless, or played as if a camera took them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.errors import InputError
from edge_occ.images import find_images, read_image
from edge_occ.sources.base import Frame
from edge_occ.sources.capture import open_video
from edge_occ.sources.threaded import ThreadedSource
from engines.frame import MAX_PIXELS

logger = logging.getLogger(__name__)

_CONVERT = "convert it, say with: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_SHRINK = "make it smaller, say with: ffmpeg -i IN -vf scale=1920:-2 OUT.mp4"


class Reel(Protocol):
    """Pictures in order, which can be played from the start again and again."""

    @property
    def rate(self) -> float | None:
        """Frames a second at which it was taken, if known."""

    @property
    def unreadable(self) -> int:
        """Pictures skipped so far because they could not be decoded."""

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and picture, decoded when it is asked for."""


class Pictures:
    """The pictures of a folder, a pattern or a single file, in natural order.

    A damaged one is skipped, logged and counted: one bad file must not stop a line.

    Args:
        folder_or_glob: what to play.
        white: value of 16-bit pictures that becomes 255, see :func:`edge_occ.images.read_image`.

    Raises:
        InputError: there are none; or, while playing, none of them can be read.
    """

    rate = None

    def __init__(self, folder_or_glob: str, white: int | None = None) -> None:
        self._where, self._white = folder_or_glob, white
        self._paths = find_images(folder_or_glob)
        self.unreadable = 0

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and picture, decoded when it is asked for."""
        errors: list[InputError] = []
        for path in self._paths:
            try:
                image = read_image(path, self._white)
            except InputError as error:  # noqa: PERF203 - the others must still be played
                errors.append(error)
                self.unreadable += 1
                logger.warning("skipped a picture: %s", error)
            else:
                yield path.name, image
        if len(errors) == len(self._paths):
            found = f"{len(errors)} pictures, none of them usable; the first: {errors[0].found}"
            raise InputError(f"readable pictures in {self._where}", found, errors[0].advice)


class Video:
    """A video file, played to its last readable frame.

    Raises:
        InputError: there is no such file, OpenCV cannot open it, or its frames have over
            :data:`~engines.frame.MAX_PIXELS` pixels; or, while playing, there is no frame in it.
    """

    unreadable = 0

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where permission is missing
            raise InputError("a video file", f"no file {path}", "check the path; relative ones start here")
        capture = open_video(self._path)
        opened, rate = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS)
        width, height = (capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        capture.release()
        if not opened:
            raise InputError("a video that OpenCV can read", f"{path}, which it cannot open", _CONVERT)
        if width * height > MAX_PIXELS:
            most = f"{MAX_PIXELS / 1e6:g} million pixels"
            raise InputError(f"a video of at most {most}", f"{path} with {width:.0f}x{height:.0f}", _SHRINK)
        self.rate = rate if 0 < rate <= 1000 else None

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Name and picture, decoded when it is asked for."""
        capture = open_video(self._path)
        try:
            readable, image = capture.read()
            if not readable:
                raise InputError("a video with frames", f"none that can be read in {self._path}", _CONVERT)
            while readable:
                yield self._path.name, image
                readable, image = capture.read()
        finally:
            capture.release()


class FileSource(ThreadedSource):
    """Plays a reel.

    Args:
        reel: what to play.
        fps: frames a second at most; without it a lossless source goes as fast as its reader, a live one at the reel's
            own rate.
        loop: start again at the end, for ever.
        live: play in real time and keep the latest frame only, as a camera would.

    Raises:
        InputError: live, without ``fps`` and without a rate of the reel's own.
    """

    def __init__(self, reel: Reel, *, fps: float | None = None, loop: bool = False, live: bool = False) -> None:
        super().__init__(live=live)
        if live and fps is None:
            fps = reel.rate
            if fps is None:
                raise InputError("a frame rate to play at", "live=1 without fps", "add &fps=10 to the source")
        self._reel, self._loop = reel, loop
        self._period = 0.0 if fps is None else 1 / fps

    @property
    def unreadable(self) -> int:
        """Pictures skipped so far because they could not be decoded."""
        return self._reel.unreadable

    def _frames(self) -> Generator[Frame, None, None]:
        pictures = iter(self._reel)
        index, due = 0, time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            # Decoding belongs to the latency: the moment of capture is when the picture could first be read.
            captured_at, captured_monotonic = datetime.now(timezone.utc), time.monotonic()
            picture = next(pictures, None)
            if picture is not None:
                yield Frame(index, captured_at, captured_monotonic, picture[1], picture[0])
                index += 1
                due = max(due + self._period, time.monotonic())  # a stall is not made up for by a burst
            elif self._loop:
                pictures = iter(self._reel)
            else:
                return

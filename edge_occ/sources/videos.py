"""A video file as a reel, with its damaged sections and missing frames reported."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.errors import InputError, SourceLost
from edge_occ.sources.capture import open_video, read_frame
from edge_occ.sources.faults import Reason, Unscored
from engines.limits import MAX_PIXELS

logger = logging.getLogger(__name__)

_CONVERT = "convert it, say with: ffmpeg -i IN -c:v libx264 -pix_fmt yuv420p OUT.mp4"
_SHRINK = "make it smaller, say with: ffmpeg -i IN -vf scale=1920:-2 OUT.mp4"
_MAX_FRAMES = 2**31
"""Bound of a plausible frame count: for a header without one, OpenCV returns a huge or negative number."""
_MAX_FAILED = 10_000
"""Failed reads in a row after which a file that should have more frames is given up.  A damaged quarter of a recording
of 40 s took 461."""
_MAX_FAILED_UNKNOWN_LENGTH = 100
"""The same in a file of unknown length, whose end is a failed read too."""


class Video:
    """A video file, read to its last readable frame.

    A damaged section yields an :class:`~edge_occ.sources.faults.Unscored` for each failed read, if frames follow it.

    Attributes:
        shortage: error that counts the frames missing from the number in the file's header.

    Raises:
        InputError: there is no such file, OpenCV cannot open it, or its frames have over
            :data:`~engines.limits.MAX_PIXELS` pixels; or, on iterating, there is no frame in it.
        SourceLost: on iterating again, it can no longer be read.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        if not os.path.isfile(path):  # noqa: PTH113 - Path.is_file raises where permission is missing
            raise InputError("a video file", f"no file {path}", "check the path; relative ones start here")
        capture = open_video(self._path)
        opened, rate, count = capture.isOpened(), capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        width, height = (capture.get(side) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        capture.release()
        if not opened:
            raise InputError("a video that OpenCV can read", f"{path}, which it cannot open", _CONVERT)
        if width * height > MAX_PIXELS:
            most = f"{MAX_PIXELS / 1e6:g} million pixels"
            raise InputError(f"a video of at most {most}", f"{path} with {width:.0f}x{height:.0f}", _SHRINK)
        self.rate = rate if 0 < rate <= 1000 else None
        self._count = int(count) if 0 < count < _MAX_FRAMES else None
        self.shortage: SourceLost | None = None
        self._was_played = False

    def __iter__(self) -> Iterator[tuple[str, NDArray[np.uint8] | Unscored]]:
        """Yield name and picture, decoded on demand, or the reason why it cannot be decoded."""
        capture = open_video(self._path)
        played = failed = in_a_row = 0
        end = 0.0
        try:
            while in_a_row == 0 or self._may_go_on(played + failed, in_a_row):
                image = read_frame(capture)
                if image is None:
                    failed, in_a_row = failed + 1, in_a_row + 1
                    continue
                for _ in range(in_a_row):
                    yield self._path.name, self._undecodable(played)
                in_a_row, played, end = 0, played + 1, capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                yield self._path.name, image
        finally:
            capture.release()
        if not played:
            raise self._empty()
        self._was_played = True
        self._compare(played, end, skipped=failed - in_a_row)

    def _may_go_on(self, frames: int, failed: int) -> bool:
        """Return whether a frame may follow ``failed`` failed reads in a row, after ``frames`` reads in all."""
        if self._count is None:
            return failed < _MAX_FAILED_UNKNOWN_LENGTH
        return frames < self._count and failed < _MAX_FAILED

    def _undecodable(self, after: int) -> Unscored:
        return Unscored(Reason.UNREADABLE, f"{self._path} is damaged after {after} frames")

    def _empty(self) -> InputError | SourceLost:
        if self._was_played:
            return SourceLost(
                f"{self._path} readable for the next loop", "a file that can no longer be read", "check the disk"
            )
        return InputError("a video with frames", f"none that can be read in {self._path}", _CONVERT)

    def _compare(self, played: int, end: float, *, skipped: int) -> None:
        """Compare the frames read with the number in the header.

        For containers that store only a duration, OpenCV estimates the number, so a lower one alone is not a loss: the
        file must also have ended early, or have had damaged sections.

        Args:
            played: frames read.
            end: time of the last one in the video, seconds.
            skipped: failed reads between them.
        """
        self.shortage = None
        if self._count is None or played >= self._count:
            return
        if self.rate is not None and not skipped:
            duration, frame = self._count / self.rate, 1 / self.rate
            if end + frame > duration - max(min(1.0, duration / 10), frame):
                logger.warning("%s declares %d frames and has %d, up to its end", self._path, self._count, played)
                return
        self.shortage = SourceLost(
            f"{self._count:,} frames, as {self._path} declares",
            f"{played:,} in the file, which is damaged or was cut short",
            "record or copy it again",
        )

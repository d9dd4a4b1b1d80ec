"""Frames that engines take, and those that they refuse."""

import numpy as np
import pytest

from engines.errors import FrameRefused
from engines.frame import require_frame
from engines.limits import MAX_PIXELS


def frame_of(height, width, channels=3, dtype=np.uint8):
    """A view of one pixel: it takes no memory, whatever its size."""
    return np.broadcast_to(np.zeros(channels, dtype), (height, width, channels))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (10_640, 14_192), (1, MAX_PIXELS), (MAX_PIXELS // 1000, 1000)])
def test_frames_of_the_largest_cameras_pass(height, width):
    require_frame(frame_of(height, width))


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (frame_of(60_000, 60_000), "at most 200 million pixels; found 60000x60000; crop it"),
        (frame_of(1, MAX_PIXELS + 1), "found 200000001x1"),
        (frame_of(4, 5, 4), "found 4 x 5 x 4 of uint8"),
        (frame_of(4, 5, dtype=np.float32), "found 4 x 5 x 3 of float32"),
        (np.zeros((4, 5), np.uint8), "found 4 x 5 of uint8; convert it"),
        (frame_of(0, 5), "found 0 x 5 x 3"),
    ],
)
def test_other_frames_are_refused(frame, words):
    with pytest.raises(FrameRefused, match=words) as caught:
        require_frame(frame)
    assert caught.value.exit_code == 2

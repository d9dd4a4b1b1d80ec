"""The close-up lies where the map peaks, inside the frame."""

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_occ.bundle.conformal import calibrate
from trainer.review.pictures import judged, peak_of, square_around, thumbnail

SIDE = st.integers(1, 500)
SHARE = st.floats(0, 1)


def decoded(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


@given(SHARE, SHARE, SIDE, SIDE)
def test_the_square_is_inside_the_frame_and_holds_the_peak(down, across, height, width):
    square = square_around((down, across), (height, width))
    assert 0 <= square.top <= square.top + square.height <= height
    assert 0 <= square.left <= square.left + square.width <= width
    side = max(round(min(height, width) / 4), 64)
    assert (square.height, square.width) == (min(side, height), min(side, width))
    assert square.top <= down * height <= square.top + square.height
    assert square.left <= across * width <= square.left + square.width


def test_the_peak_is_the_middle_of_its_cell():
    score_map = np.zeros((4, 10), np.float32)
    score_map[1, 7] = 2
    assert peak_of(score_map) == (1.5 / 4, 7.5 / 10)


def test_the_close_up_shows_the_pixels_under_the_peak():
    frame = np.full((400, 600, 3), 90, np.uint8)
    cv2.rectangle(frame, (440, 40), (470, 70), (20, 20, 220), -1)
    score_map = np.zeros((40, 60), np.float32)
    score_map[5, 45] = 9
    calibration = calibrate(np.linspace(1, 4, 30), 0.1)
    whole, hot, close = (decoded(jpeg) for jpeg in judged(frame, score_map, calibration))
    assert whole.shape == hot.shape == (400, 600, 3)
    assert close.shape == (480, 480, 3)
    assert np.abs(whole.astype(int) - frame).mean() < 2
    assert np.abs(close[240, 240].astype(int) - (20, 20, 220)).max() < 40
    red = (close[..., 2] > 150) & (close[..., 1] < 80)
    assert abs(red.mean() - 31 * 31 / (100 * 100)) < 0.01
    assert np.abs(hot[52, 455].astype(int) - frame[52, 455]).max() > 40, "the peak has a colour"
    assert np.abs(hot[300, 100].astype(int) - frame[300, 100]).max() < 8, "what is usual has none"


def test_small_and_large_frames_get_pictures_of_a_readable_size():
    calibration = calibrate(np.linspace(1, 4, 30), 0.1)
    for shape, expected in (((112, 112), (480, 480)), ((1000, 3000), (240, 720)), ((3000, 40), (720, 10))):
        frame = np.zeros((*shape, 3), np.uint8)
        whole, hot, _ = judged(frame, np.ones((3, 3), np.float32), calibration)
        assert decoded(whole).shape[:2] == decoded(hot).shape[:2] == expected
        assert max(decoded(thumbnail(frame)).shape) <= 112

"""Small pictures and videos on disk, each telling its number, and a watch for threads left behind."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest


def numbered(number, size=(32, 24)):
    """Grey noise with the number in the upper left corner, of ``size`` (width, height)."""
    noise = np.random.RandomState(number).randint(0, 256, (size[1], size[0], 1)).astype(np.uint8)
    noise[:4, :4] = number
    return noise.repeat(3, axis=2)


@pytest.fixture
def write_pictures():
    def write(folder, count):
        folder.mkdir()
        for number in range(count):
            assert cv2.imwrite(str(folder / f"img{number}.png"), numbered(number))
        return folder

    return write


@pytest.fixture
def write_video():
    def write(path, count, fps=25.0, size=(32, 24)):
        # FFV1 is lossless, so that frames come back as they were.
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), fps, size)
        assert writer.isOpened()
        for number in range(count):
            writer.write(numbered(number, size))
        writer.release()
        return path

    return write


@pytest.fixture(autouse=True)
def no_thread_is_left_behind():
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left, f"threads left behind: {left}"

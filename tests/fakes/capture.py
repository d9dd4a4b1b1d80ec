"""A camera as OpenCV opens it, played from a script."""

from __future__ import annotations

import cv2
import numpy as np

FAIL, RAISE = "fail", "raise"


class FakeCapture:
    """Plays a script of frame numbers, failed reads and exceptions; then every read fails, as if it were unplugged.

    With ``pace`` it returns black frames instead, one each time the semaphore is released.
    """

    def __init__(self, script=(), *, opened=True, pace=None):
        self.opened, self.released, self.settings = opened, 0, {}
        self.script, self.pace = iter(script), pace

    def isOpened(self):
        return self.opened

    def read(self):
        step = next(self.script, FAIL)
        if self.pace is not None and self.pace.acquire(timeout=0.05):
            step = 0
        if step == RAISE:
            raise cv2.error("decoding failed")
        return (False, None) if step == FAIL else (True, np.full((4, 6, 3), step, np.uint8))

    def set(self, prop, value):
        self.settings[prop] = value
        return True

    def get(self, prop):
        return self.settings.get(prop, 0.0)

    def release(self):
        self.opened = False
        self.released += 1


class FakeCamera:
    """Opens the given captures one after the other, then none."""

    def __init__(self, *captures):
        self.captures, self.opens = list(captures), 0

    def __call__(self, device):
        self.opens += 1
        return self.captures[self.opens - 1] if self.opens <= len(self.captures) else FakeCapture(opened=False)

"""Frames of 200 x 112 pixels: a grey disc in the left half, and defects in the right one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from discs import write
from numpy.typing import NDArray

FRAME = (112, 200)
"""Height and width."""

SPOT = (150, 40)
"""Middle of the defects, x and y in frame pixels: far from the middle of the frame, and from its mirror images."""


def wide(seed: int) -> NDArray[np.uint8]:
    """A good part."""
    image = np.clip(np.random.default_rng(seed).normal(60, 6, (*FRAME, 3)), 0, 255).astype(np.uint8)
    cv2.circle(image, (56, 56), 36, (150, 160, 170), -1, cv2.LINE_AA)
    return image


def spoilt(seed: int) -> NDArray[np.uint8]:
    """A part with a red spot."""
    image = wide(seed)
    cv2.circle(image, SPOT, 9, (20, 20, 220), -1)
    return image


def make_wide_data(folder: Path) -> Path:
    """MVTec layout: 16 normal images, 4 good and 4 defective test images with masks."""
    for i in range(16):
        write(folder / "train" / "good" / f"{i:03}.png", wide(i))
    mask = cv2.circle(np.zeros(FRAME, np.uint8), SPOT, 9, 255, -1)
    for i in range(4):
        write(folder / "test" / "good" / f"{i:03}.png", wide(100 + i))
        write(folder / "test" / "spot" / f"{i:03}.png", spoilt(200 + i))
        write(folder / "ground_truth" / "spot" / f"{i:03}_mask.png", np.asarray(mask, np.uint8))
    return folder

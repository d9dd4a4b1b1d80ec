"""Mild changes of a frame as cameras, lamps and encoders make them: brightness, noise, JPEG, a shift of a pixel.

They come in the order of the light's way: the part lies a pixel aside, the lamp is a little brighter, the sensor adds
noise, the encoder compresses.  Half of the frames are not compressed, as compression removes most of the noise.
"""

from __future__ import annotations

import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_occ.common.decoding import has_colour
from trainer.config.camera_changes import CameraChangesConfig

_COMPRESSED = 0.5
"""Share of the frames that are compressed."""


def change_frame(image: NDArray[np.uint8], config: CameraChangesConfig, seed: int, copy: int = 0) -> NDArray[np.uint8]:
    """A changed copy of a frame.

    Args:
        image: uint8 ``[height, width, 3]``, BGR.  If its three channels are equal, as those of a grey camera are, those
            of the copy are equal too.
        config: ranges of the changes; each is drawn uniformly.
        seed: of everything random, together with ``copy`` and the pixels: the same image has the same copies wherever
            it lies.
        copy: number of the copy.

    Returns:
        uint8 of the same shape.
    """
    pixels = zlib.crc32(image.tobytes())
    random = np.random.default_rng((seed % 2**32, copy, pixels))
    down, right = (int(pixel) for pixel in random.integers(-config.shift, config.shift, 2, endpoint=True))
    gain = random.uniform(1 - config.brightness, 1 + config.brightness)
    sigma = random.uniform(0, config.noise)
    compressed = random.random() < _COMPRESSED
    grain = random.standard_normal((*image.shape[:2], 3 if has_colour(image) else 1), np.float32)
    lit = _shifted(image, down, right) * np.float32(gain) + np.float32(sigma) * grain
    changed = np.rint(lit).clip(0, 255).astype(np.uint8)
    if config.jpeg is None or not compressed:
        return changed
    return _compressed(changed, int(random.integers(*config.jpeg, endpoint=True)))


def _shifted(image: NDArray[np.uint8], down: int, right: int) -> NDArray[np.uint8]:
    """The frame, moved; the border repeats its edge."""
    reach = max(abs(down), abs(right))
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    return padded[reach - down : reach - down + height, reach - right : reach - right + width]


def _compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise RuntimeError(f"OpenCV does not encode a frame of {image.shape} as JPEG")
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)

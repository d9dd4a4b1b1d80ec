"""The region that a training inspects, and the crop of the frames around it."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_occ.bundle.crop import Crop
from edge_occ.common.drawn_region import at_size
from edge_occ.common.errors import InputError
from edge_occ.common.size import size_in_words
from trainer.config import TrainConfig
from trainer.data.images import NormalImages
from trainer.data.region import find_region, read_region
from trainer.pretrain.encoders import resized

logger = logging.getLogger(__name__)

MARGIN = 1 / 32
"""Ground around the region in a crop, as a share of the frame's shorter side: about a position of the grid."""

MAX_SHARE = 0.8
"""Maximum share of the frame that a crop has: a larger one gives less than an eighth more pixels along each axis.
What crops of .50 and .72 find more: docs/results/large-frames.md."""

Mask = NDArray[np.bool_]


def with_region(data: NormalImages, config: TrainConfig) -> tuple[NormalImages, Mask | None]:
    """Find the region, or read the user's, and crop the images to it where the settings ask for that.

    Args:
        data: checked images, with their pose or tiles.
        config: all settings.

    Returns:
        The images, and the region's pixels in them as they are resized, bool; ``None``: all is inspected.

    Raises:
        InputError: the user's region cannot be used; see :func:`trainer.data.region.read_region`.
    """
    region = _region(data, config)
    if region is None:
        return data, None
    crop = _crop(region, data, config)
    if crop is None:
        return data, region
    logger.info("frames are cropped to the region: %s of %s", *map(size_in_words, (crop.size(crop.frame), crop.frame)))
    cropped = replace(data, crop=crop)
    return cropped, at_size(region[crop.slices(region.shape)], config.resized(cropped.viewed))


def _region(data: NormalImages, config: TrainConfig) -> Mask | None:
    """Return the region's pixels in the images as they are resized without a crop."""
    size = config.resized(data.viewed)
    if config.region.mode == "auto" and data.tiles is None:
        return find_region(resized(data, size, "looking for the region"))
    if config.region.file is None:
        return None
    if data.pose is not None:
        raise InputError(
            "a region of frames that stay as they are",
            f"{config.region.file}, and parts that are turned to one pose",
            "use --set pose.mode=none or --set region.mode=auto",
        )
    return read_region(Path(config.region.file).expanduser(), data.frame, size)


def _crop(region: Mask, data: NormalImages, config: TrainConfig) -> Crop | None:
    """Return the rectangle around the region; ``None`` if none is asked for or possible, or it gives no more detail."""
    frame = data.frame
    if not config.region.crop or data.pose is not None or frame is None:
        return None
    if math.prod(frame) <= math.prod(config.resized(frame)):
        return None  # the whole loses nothing by resizing
    margin = MARGIN * min(frame)
    (top, bottom), (left, right) = (
        _extent(np.asarray(region.any(axis)), side, margin) for axis, side in zip((1, 0), frame, strict=True)
    )
    crop = Crop(top, left, bottom - top, right - left, frame)
    return crop if crop.height * crop.width <= MAX_SHARE * math.prod(frame) else None


def _extent(inside: NDArray[np.bool_], pixels: int, margin: float) -> tuple[int, int]:
    """Return the first pixel, and the one after the last, of a side of the frame, with the margin."""
    places, scale = np.flatnonzero(inside), pixels / len(inside)
    first, end = math.floor(places[0] * scale - margin), math.ceil((places[-1] + 1) * scale + margin)
    return max(0, first), min(pixels, end)

"""The region of the frame that is inspected: found on normal images, or drawn by the user."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.common.drawn_region import at_size, read_drawn_region
from edge_occ.common.errors import InputError
from edge_occ.common.size import Size, size_in_words
from trainer.data.foreground import foreground

Mask = NDArray[np.bool_]

MIN_PLAIN = 0.9
"""Minimum share of images with a plain ground, for parts before a plain ground; textures have none."""

MIN_FREQUENCY = 0.1
"""Minimum share of those images whose part covers a pixel; dust on the ground never lies in one place as often."""

GROWTH = 0.03
"""Distance that the region reaches beyond the parts, as a share of the image's shorter side: about a position of the
grid, for burrs and bristles that stick out."""

MAX_SHARE = 0.95
"""Maximum share of the image that a region covers; with more, there is no ground to leave out."""


def find_region(images: Tensor) -> Mask | None:
    """Find where the parts lie before a plain ground.

    Args:
        images: normal images, uint8 RGB ``[n, 3, height, width]``.

    Returns:
        bool ``[height, width]``; ``None`` if the ground is not plain, or the parts cover nearly everything.
    """
    parts = torch.cat([foreground(chunk.float() / 255)[:, 0] for chunk in torch.split(images, 16)])
    plain = ~parts.flatten(1).all(1)
    if plain.float().mean() < MIN_PLAIN:
        return None
    mask = (parts[plain].float().mean(0) >= MIN_FREQUENCY).numpy()
    reach = round(GROWTH * min(mask.shape))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    grown: Mask = cv2.dilate(mask.astype(np.uint8), disc) > 0
    return grown if 0 < grown.mean() <= MAX_SHARE else None


def read_region(path: Path, frame: Size | None, size: Size) -> Mask:
    """Read the user's region; see :func:`edge_occ.common.drawn_region.read_drawn_region`.

    Args:
        path: a picture, or a ``.json`` file.
        frame: height and width of the training images; ``None`` if they differ.
        size: height and width of the result.

    Returns:
        bool ``[*size]``: pixels of which at least half is inspected.

    Raises:
        InputError: no such file, not a region, of another size than the images, or empty.
    """
    if frame is None:
        raise InputError(
            f"training images of one size for the region {path}", "images of different sizes", "use region.mode=whole"
        )
    region = read_drawn_region(path)
    if region.polygons is None and region.size != frame:
        raise InputError(
            f"a region of {size_in_words(frame)} pixels, as the training images",
            f"{size_in_words(region.size)} in {path}",
            "draw it on one of the training images",
        )
    drawn = region.pixels(frame)
    mask = at_size(drawn, size)
    if not mask.any():
        raise InputError(
            f"a region in {path} with something to inspect", f"{drawn.mean():.1%} of the frame", "draw a larger one"
        )
    return mask

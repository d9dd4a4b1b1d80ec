"""Segmentation of the part from a plain background in batches of images, by the rule of :mod:`edge_occ.bundle.part`.

The mask places synthetic defects on the part; no inspection uses it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_occ.bundle.part import differing

MIN_SHARE = 0.01
"""Minimum share of the image that a part covers; with less, the image shows an even surface."""


def foreground(images: Tensor) -> Tensor:
    """Return the mask of the part, bool ``[n, 1, h, w]``; all true if there is no plain background.

    A pixel with the part on all four sides belongs to it, so that a shiny spot in the background's colour is no hole.
    If a part fills the image and its border is even (a sheet with a print in the middle), the mask holds only what
    differs from the border.

    Args:
        images: float ``[n, 3, h, w]``, 0 to 1 in steps of 1/255, larger than 8 pixels.
    """
    frames = (images * 255).round().byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    masks = np.stack([_part(frame) for frame in frames])
    return torch.from_numpy(masks).unsqueeze(1).to(images.device)


def _part(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    mask = differing(frame)
    if mask is not None:
        mask = _surrounded(mask)
        if mask.mean() >= MIN_SHARE:
            return mask
    return np.ones(frame.shape[:2], dtype=np.bool_)


def _surrounded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels that have a pixel of the mask in all four directions, or belong to it."""

    def between(axis: int) -> NDArray[np.bool_]:
        before = np.logical_or.accumulate(mask, axis)
        after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
        return np.asarray(before & after)

    return between(0) & between(1)

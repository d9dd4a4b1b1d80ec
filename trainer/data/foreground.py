"""Segmentation of the part from a plain background, by the colour of the image's border.

NSA (Schlüter et al., 2022, section 3) sets a background grey and a threshold for each product; here both come from the
border.  The mask places synthetic defects on the part; no inspection uses it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BORDER = 4
"""Width of the border in pixels."""

UNIFORM = 24 / 255
"""Maximum distance of nine tenths of the border from its median colour in an image with a plain background.  Light that
falls off towards the corners stays below it (17 of 255 for MVTec screw), textures exceed it."""

MIN_CONTRAST = 12 / 255
"""Minimum contrast between part and background, far above camera noise."""

SPREAD = 1.5
"""Minimum contrast as a multiple of the spread of the border, which is mostly shading."""

STEPS = 4
"""Number of steps of Ridler and Calvard's rule (threshold half-way between background and mean of the part), which
exclude the shadow around the part."""

MIN_SHARE = 0.01
"""Minimum share of the image that a part covers; with less, the image shows an even surface."""

_MEDIAN = 5
"""Side of the majority filter that removes specks (NSA: a 7x7 median filter)."""


def foreground(images: Tensor) -> Tensor:
    """Return the mask of the part, bool ``[n, 1, h, w]``; all true if there is no plain background.

    A pixel with the part on all four sides belongs to it, so that a shiny spot in the background's colour is no hole.
    If a part fills the image and its border is even (a sheet with a print in the middle), the mask holds only what
    differs from the border.

    Args:
        images: float ``[n, 3, h, w]``, 0 to 1, larger than 8 pixels.
    """
    border = torch.cat(
        [
            images[..., :BORDER, :].flatten(2),
            images[..., -BORDER:, :].flatten(2),
            images[..., BORDER:-BORDER, :BORDER].flatten(2),
            images[..., BORDER:-BORDER, -BORDER:].flatten(2),
        ],
        dim=2,
    )
    ground = border.median(2, keepdim=True).values
    spread = (border - ground).abs().amax(1).quantile(0.9, dim=1).view(-1, 1, 1, 1)
    # Two maxima of whole planes are several times faster than one reduction over the three channels.
    red, green, blue = (images - ground.unsqueeze(3)).abs().unbind(1)
    contrast = torch.maximum(torch.maximum(red, green), blue).unsqueeze(1)
    threshold = (SPREAD * spread).clamp_min(MIN_CONTRAST)
    for _ in range(STEPS):
        threshold = torch.maximum(threshold, _mean_above(contrast, threshold) / 2)
    part = _surrounded(_majority(contrast > threshold))
    plain = (spread <= UNIFORM) & (part.float().mean((2, 3), keepdim=True) >= MIN_SHARE)
    return part | ~plain


def _mean_above(values: Tensor, threshold: Tensor) -> Tensor:
    """Return the mean of each image's values above its threshold, zero without any: ``[n, 1, 1, 1]``."""
    above = (values > threshold).to(values.dtype)
    return (values * above).sum((2, 3), keepdim=True) / above.sum((2, 3), keepdim=True).clamp_min(1)


def _majority(mask: Tensor) -> Tensor:
    """Return whether most pixels of the square about each pixel are true; pixels outside the image are false."""
    counts = functional.pad(mask.byte(), (_MEDIAN // 2,) * 4)
    for axis in (2, 3):
        # Sums of shifted bytes, as pooling floats takes many times as long.
        size = mask.shape[axis]
        counts = torch.stack([counts.narrow(axis, k, size) for k in range(_MEDIAN)]).sum(0, dtype=torch.uint8)
    return counts > _MEDIAN**2 // 2


def _surrounded(mask: Tensor) -> Tensor:
    """Return the pixels that have a pixel of the mask in all four directions, or belong to it."""
    values = mask.float()

    def seen(axis: int) -> Tensor:
        upto = values.cumsum(axis)
        return (upto > 0) & (upto - values < upto.narrow(axis, -1, 1))

    return seen(2) & seen(3)

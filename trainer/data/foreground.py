"""Where the part is in an image, from the image alone: what differs from the colour of the image's border.

NSA (METHOD 6.1) gives each product its own background grey and threshold; here the border supplies both, so nothing
has to be set.  The mask says where a defect would lie on the part; it decides nothing about an inspected image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

BORDER = 4
"""Width in pixels of the frame that shows the background."""

UNIFORM = 24 / 255
"""Nine tenths of the border lie this near the border's median colour, or the image has no plain background: lighting
that falls off towards the corners stays below it (17 for MVTec screw), textures exceed it."""

LEAST_CONTRAST = 12 / 255
"""The part differs from the background by more than this, far above camera noise, ..."""

SPREAD = 1.5
"""... and by more than this many times the spread of the border, which is mostly shading."""

STEPS = 4
"""Steps of Ridler and Calvard's rule (threshold half-way between background and mean of the part), which leave out
the shadow around the part."""

LEAST_SHARE = 0.01
"""A part that seems smaller is none: an even surface that fills the image."""

_MEDIAN = 5
"""Side of the majority filter that removes specks (NSA: a 7x7 median filter)."""


def foreground(images: Tensor) -> Tensor:
    """Where the part is: bool ``[n, 1, h, w]``, all true where no plain background is found.

    What other parts surround on all four sides counts as part, so a shiny spot in the background's colour is no hole.
    A part that fills the image with an even border (a sheet with a print in the middle) cannot be told from a
    background: only what differs from it is found.

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
    threshold = (SPREAD * spread).clamp_min(LEAST_CONTRAST)
    for _ in range(STEPS):
        threshold = torch.maximum(threshold, _mean_above(contrast, threshold) / 2)
    part = _surrounded(_majority(contrast > threshold))
    plain = (spread <= UNIFORM) & (part.float().mean((2, 3), keepdim=True) >= LEAST_SHARE)
    return part | ~plain


def _mean_above(values: Tensor, threshold: Tensor) -> Tensor:
    """Mean of each image's values above its threshold, zero where there are none: ``[n, 1, 1, 1]``."""
    above = (values > threshold).to(values.dtype)
    return (values * above).sum((2, 3), keepdim=True) / above.sum((2, 3), keepdim=True).clamp_min(1)


def _majority(mask: Tensor) -> Tensor:
    """Whether most pixels of the square about each pixel are true; those beyond the image count as false."""
    counts = functional.pad(mask.byte(), (_MEDIAN // 2,) * 4)
    for axis in (2, 3):
        # Sums of shifted bytes, as pooling floats takes many times as long.
        size = mask.shape[axis]
        counts = torch.stack([counts.narrow(axis, k, size) for k in range(_MEDIAN)]).sum(0, dtype=torch.uint8)
    return counts > _MEDIAN**2 // 2


def _surrounded(mask: Tensor) -> Tensor:
    """Pixels that see the mask, or lie in it, in all four directions."""
    values = mask.float()

    def seen(axis: int) -> Tensor:
        upto = values.cumsum(axis)
        return (upto > 0) & (upto - values < upto.narrow(axis, -1, 1))

    return seen(2) & seen(3)

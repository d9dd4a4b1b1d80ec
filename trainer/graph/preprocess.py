"""From the raw frame to the image that encoders see."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edge_occ.common.size import Size


def resize_matrix(extent: Tensor, target: int) -> Tensor:
    """Anti-aliased linear resampling along one axis, as a matrix ``[target, extent]``.

    The triangle filter of Pillow and of torch's ``interpolate(antialias=True)``.  As a matrix product it needs no
    resize operator, on whose anti-aliasing the runtimes differ; it is the identity where nothing is to be resized.

    Args:
        extent: 0, 1, 2, ... for every pixel along the axis, float32.
        target: number of pixels wanted.
    """
    scale = (extent[-1:] + 1) / target
    centres = (torch.arange(target, dtype=torch.float32, device=extent.device) + 0.5) * scale
    distance = (extent + 0.5).unsqueeze(0) - centres.unsqueeze(1)
    weights = (1 - distance.abs() / scale.clamp_min(1)).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


class Preprocess(nn.Module):
    """Resizes raw frames.

    Args:
        size: height and width of the result in pixels.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size

    def forward(self, frames: Tensor) -> Tensor:
        """Map BGR ``[n, h, w, 3]``, uint8 or float32 of 0..255, to float32 RGB ``[n, 3, *size]``, 0 to 255."""
        images = frames.float().permute(0, 3, 1, 2)
        across = resize_matrix(torch.arange(frames.shape[2], device=frames.device).float(), self.size[1])
        down = resize_matrix(torch.arange(frames.shape[1], device=frames.device).float(), self.size[0])
        images = down @ (images @ across.transpose(0, 1))
        return to_rgb(images)


def to_rgb(images: Tensor) -> Tensor:
    """Turn the channels of BGR ``[n, 3, h, w]`` round."""
    return images.index_select(1, torch.tensor([2, 1, 0], device=images.device))

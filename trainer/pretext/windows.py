"""Labels and classifiers of the windows of a grid."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import PretextConfig
from trainer.encoders.dense import WINDOW

IGNORE = -1
"""Label of windows that are neither clearly normal nor clearly pasted, which the loss ignores."""


def label_windows(
    before: Tensor,
    after: Tensor,
    classes: Tensor,
    kinds: int,
    config: PretextConfig,
    stride: int,
    window: int = WINDOW,
) -> Tensor:
    """Label each window by its numbers of pasted and of visibly changed pixels.

    Args:
        before: images without pastes, float ``[n, 3, h, w]``, 0 to 1.
        after: the same with pastes.
        classes: class of the paste that covers each pixel, 0 for none, uint8 ``[n, 1, h, w]``.
        kinds: number of classes of pastes.
        config: visible, min_pixels, max_covered and scales.
        stride: distance between windows in pixels, a divisor of a quarter of the window.
        window: side of a window in pixels.

    Returns:
        int64 ``[n, rows, columns]``: 0 if no pixel is pasted; the class with the most visibly changed pixels if they
        are enough and the window is not covered; else :data:`IGNORE`.  With two scales ``[2 n, rows, columns]``: all
        windows, then their central squares by the same rules.
    """
    changed = (after - before).abs_().sum(1, keepdim=True) > 3 * config.visible
    planes = torch.cat([classes > 0, *(changed & (classes == kind + 1) for kind in range(kinds))], 1)
    # Neighbouring windows share most of their pixels, so pixels are counted once in the cells of the grid.
    cells = functional.avg_pool2d(planes.float(), stride) * stride**2
    rows, columns = ((size - window) // stride + 1 for size in before.shape[2:])
    labels = []
    for side in (window, window // 2)[: config.scales]:
        margin, across = (window - side) // 2 // stride, side // stride
        counts = functional.avg_pool2d(cells[:, :, margin:, margin:], across, 1)[:, :, :rows, :columns] * across**2
        pasted, (visible, kind) = counts[:, 0], counts[:, 1:].max(1)
        positive = (visible >= config.min_pixels) & (pasted <= config.max_covered * side**2)
        labels.append(torch.where(positive, kind + 1, IGNORE).masked_fill(pasted == 0, 0))
    return torch.cat(labels)


class WindowClassifier(nn.Module):
    """One shallow projection head and linear classifier for each scale of features, as 1x1 convolutions.

    Args:
        scales: number of channels of each scale, in the order of the features.
        used: number of scales that are classified, from the first on.
        classes: number of labels.
        pooled: whether to average the features of all positions first, for an image with one label.
    """

    def __init__(self, scales: tuple[int, ...], used: int, classes: int, pooled: bool = False) -> None:
        super().__init__()
        self.scales, self.pooled = scales, pooled
        self.heads = nn.ModuleList(_head(dim, classes) for dim in scales[:used])

    def forward(self, features: Tensor) -> Tensor:
        """Map ``[n, sum(scales), rows, columns]`` to logits ``[used * n, classes, rows, columns]``, ordered by scale as
        :func:`label_windows` orders them; if pooled, with one row and column.
        """
        if self.pooled:
            features = functional.adaptive_avg_pool2d(features, 1)
        parts = torch.split(features, list(self.scales), 1)
        return torch.cat([head(part) for head, part in zip(self.heads, parts, strict=False)])


def _head(dim: int, classes: int) -> nn.Module:
    hidden = max(dim // 2, 16)
    return nn.Sequential(
        nn.Conv2d(dim, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, classes, 1)
    )

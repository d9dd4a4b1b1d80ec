"""The dense patch encoder: a ResNet of *valid* convolutions that is exact window by window.

Patch-wise one-class scoring (CutPaste, section 2.4) runs a network on every window of an image.  Windows overlap
almost entirely, so nearly all of that work is repeated.  Here no layer pads and every skip connection is cropped, so
that the features at a grid position depend on its own window alone: one pass over the frame equals one pass for each
window.

With windows of 64 pixels, each position has features of two scales: of its window, and of the central 32 pixels of that
window, taken from an inner layer at no extra cost.  Wide features detect misplaced parts, narrow ones locate defects.

Every crop has fixed margins, whatever the size of the image, so that no exported node holds a length: see
:mod:`trainer.export.encoder_graph`.

The three grid strides share one set of weights.  Stride 8 is the plain network.  Stride 4 leaves out the last
subsampling and dilates what follows (the "a trous" construction of Giusti et al., 2013), so that every second feature
is a feature of stride 8.  Stride 16 subsamples the last layer.  All three have windows of 64 pixels.

With windows of 32 pixels, as the paper extracts features (A.5), the network ends after its first block, with one scale.
Stride 4 is the plain network then, and stride 8 subsamples the last layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainer.encoders.base import Encoder

WINDOW = 64
"""Default side of a window in pixels: the receptive field of one feature, for all three strides."""

STRIDES = (4, 8, 16)

NARROW_WINDOW = 32
"""Side in pixels of the patches that the paper scores (CutPaste, A.5)."""

NARROW_STRIDES = (4, 8)

_INNER_STRIDE = 4
"""Grid stride of the first block's output."""

_CENTRE = slice(4, -4)
"""The first block's outputs (field 28) at the centres of windows: the first one begins 16 pixels into the first window,
and with its neighbour it covers pixels 16 to 48."""


class _Unit(nn.Module):
    """Convolution without padding or bias, batch normalisation, optional ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv: nn.Conv2d = nn.Conv2d(inputs, outputs, kernel, stride, dilation=dilation, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y.relu() if self.relu else y

    def fuse(self) -> None:
        """Fold the batch normalisation, by its running means, into the convolution (evaluation mode only)."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class _ValidBlock(nn.Module):
    """Residual block of two valid convolutions; the skip is cropped to the pixels at the centres of the main path."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.first = _Unit(inputs, outputs, kernel, stride)
        self.second = _Unit(outputs, outputs, 3, dilation=dilation, relu=False)
        self.project = None if inputs == outputs and stride == 1 else _Unit(inputs, outputs, 1, relu=False)
        around = kernel + 2 * dilation * stride - 1
        self.crop = slice(around // 2, around // 2 - around, stride)

    def forward(self, x: Tensor) -> Tensor:
        main = self.second(self.first(x))
        skip = x[:, :, self.crop, self.crop]
        if self.project is not None:
            skip = self.project(skip)
        total: Tensor = main + skip
        return total.relu()


class DensePatchEncoder(Encoder):
    """Features of every window of an image at a grid stride, in one pass.

    Layers (kernel/stride -> receptive field at stride 8): 6/2 -> 6, 4/2 -> 12, block 3+3 -> 28, block 4/2+3 -> 56,
    2 -> 64.  The first block's output has a field of 28 pixels every 4; averaging the 2x2 of them at a window's centre
    gives the features of its central 32 pixels.  With windows of 32 pixels: 6/2 -> 6, 4/2 -> 12, block 3+3 -> 28,
    2 -> 32.

    Args:
        stride: grid stride in pixels, one of 4, 8 or 16; 4 or 8 with windows of 32 pixels.
        width: channels of the first layer; the next ones have 2, 2 and 4 times as many.
        dim: number of features of the window; a window of 64 pixels has ``2 * width`` more, of its centre.
        window: side of a window in pixels, 64 or 32.
    """

    exact = True

    def __init__(self, stride: int = 8, width: int = 32, dim: int = 256, window: int = WINDOW) -> None:
        super().__init__()
        if window not in (WINDOW, NARROW_WINDOW):
            raise ValueError(f"window must be {WINDOW} or {NARROW_WINDOW}, not {window}")
        strides = STRIDES if window == WINDOW else NARROW_STRIDES
        if stride not in strides:
            raise ValueError(f"stride must be one of {strides}, not {stride}")
        self.stride, self.width, self.dim, self.window = stride, width, dim, window
        self.stem = nn.Sequential(_Unit(3, width, 6, 2), _Unit(width, 2 * width, 4, 2))
        self.block1 = _ValidBlock(2 * width, 2 * width, 3, 1, 1)
        self.block2: _ValidBlock | None = None
        if window == WINDOW:
            self.scales = (dim, 2 * width)
            inner = 1 if stride == 4 else 2
            dilation = 2 // inner
            self.block2 = _ValidBlock(2 * width, 4 * width, 4, inner, dilation)
            self.head = _Unit(4 * width, dim, 2, 2 if stride == 16 else 1, dilation)
        else:
            self.scales = (dim,)
            self.head = _Unit(2 * width, dim, 2, stride // _INNER_STRIDE)

    def forward(self, image: Tensor) -> Tensor:
        """Map float images ``[n, 3, h, w]`` to features ``[n, sum(scales), rows, columns]``.

        The first ``dim`` channels are of the window, the rest of its centre.
        """
        inner = self.block1(self.stem(image))
        if self.block2 is None:
            narrow: Tensor = self.head(inner)
            return narrow
        window = self.head(self.block2(inner))
        centre = functional.avg_pool2d(inner[:, :, _CENTRE, _CENTRE], 2, self.stride // _INNER_STRIDE)
        return torch.cat((window, centre), 1)

    def centres(self, side: int) -> Tensor:
        """See :meth:`trainer.encoders.base.Encoder.centres`."""
        if side < self.window:
            raise ValueError(f"image of {side} pixels is smaller than one window of {self.window}")
        count = (side - self.window) // self.stride + 1
        return torch.arange(count, dtype=torch.float64) * self.stride + self.window / 2

    def fuse(self) -> None:
        """See :meth:`trainer.encoders.base.Encoder.fuse`."""
        for unit in [module for module in self.modules() if isinstance(module, _Unit)]:
            unit.fuse()

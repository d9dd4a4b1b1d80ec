"""ResNet-18, the network of the image-level model (CutPaste, section 4).

Its parameters have the names of torchvision and timm, so that their weights load unchanged (the classifier,
``fc.weight`` and ``fc.bias``, is not used).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainer.encoders.base import Encoder

BASE_WIDTH = 64
"""Channels of the first of the four layers; each layer after it doubles them and halves the resolution."""

SMALL_INPUT = 64
"""Largest side in pixels of images for the small stem; the two-stage paper's code has it for 32 and 64, not for
128 and 256."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and deviation of RGB in 0..1, as torchvision and timm train with."""


class _BasicBlock(nn.Module):
    """Two 3x3 convolutions, a shortcut, and ReLU after the sum (ResNet v1)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2: nn.Module = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        total: Tensor = y + (x if self.downsample is None else self.downsample(x))
        return total.relu()

    def fuse(self) -> None:
        """Fold the batch normalisations into the convolutions (evaluation mode only)."""
        _fuse(self, "conv1", "bn1")
        _fuse(self, "conv2", "bn2")
        if self.downsample is not None:
            _fuse(self.downsample, "0", "1")


class ResNet18Encoder(Encoder):
    """ResNet-18 v1 from an image to its last feature map, which the image-level model averages.

    Four layers of two blocks; no convolution has a bias; He initialisation of the fan-out; momentum 0.1 and epsilon
    1e-5 of the batch normalisation: as in the code of the authors' two-stage paper.

    ``window`` is nominal: the side of the cell that a position stands for.  The receptive field is 435 pixels (small:
    109), so that every position depends on most of an image.

    Args:
        small: whether to begin with a 3x3 convolution of stride 1 and no pooling, for images of up to 64 pixels,
            instead of 7x7 of stride 2 and 3x3 max-pooling.
        pretrained: whether inputs are normalised by ImageNet's mean and deviation, instead of scaled to 0..1.
        base_width: number of channels of the first layer, an eighth of the number of features.
    """

    def __init__(self, small: bool = False, pretrained: bool = False, base_width: int = BASE_WIDTH) -> None:
        super().__init__()
        widths = [base_width * factor for factor in (1, 2, 4, 8)]
        self.scales = (widths[-1],)
        self.small = small
        self.stride = self.window = 8 if small else 32
        self.offset, self.deviation = 0.0, 255.0
        if pretrained:
            red, green, blue = IMAGENET_MEAN
            self.offset = (255 * red, 255 * green, 255 * blue)
            red, green, blue = IMAGENET_DEVIATION
            self.deviation = (255 * red, 255 * green, 255 * blue)
        kernel, stride = (3, 1) if small else (7, 2)
        self.conv1 = nn.Conv2d(3, base_width, kernel, stride, kernel // 2, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(base_width)
        self.layer1 = _layer(base_width, widths[0], 1)
        self.layer2 = _layer(widths[0], widths[1], 2)
        self.layer3 = _layer(widths[1], widths[2], 2)
        self.layer4 = _layer(widths[2], widths[3], 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images ``[n, 3, h, w]`` to ``[n, 8 base_width, rows, columns]``; the stride is 32 pixels
        (small: 8).
        """
        x: Tensor = self.bn1(self.conv1(image)).relu()
        if not self.small:
            x = functional.max_pool2d(x, 3, 2, 1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
        return x

    def centres(self, side: int) -> Tensor:
        """See :meth:`trainer.encoders.base.Encoder.centres`; the first one is the first pixel's."""
        if side < self.stride:
            raise ValueError(f"image of {side} pixels is smaller than the encoder's stride of {self.stride}")
        count = -(-side // self.stride)
        return torch.arange(count, dtype=torch.float64) * self.stride + 0.5

    def fuse(self) -> None:
        """See :meth:`trainer.encoders.base.Encoder.fuse`."""
        _fuse(self, "conv1", "bn1")
        for block in [module for module in self.modules() if isinstance(module, _BasicBlock)]:
            block.fuse()


def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_BasicBlock(inputs, outputs, stride), _BasicBlock(outputs, outputs, 1))


def _fuse(parent: nn.Module, conv: str, norm: str) -> None:
    convolution, normalisation = parent.get_submodule(conv), parent.get_submodule(norm)
    if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
        setattr(parent, conv, fuse_conv_bn_eval(convolution, normalisation))
        setattr(parent, norm, nn.Identity())

"""EfficientNet-Lite0: a network for edge devices, of which several layers are resampled to one grid.

The network is Google's (tensorflow/tpu, models/official/efficientnet/lite): EfficientNet-B0 without squeeze and
excitation and with ReLU6.  Its ImageNet weights were trained in TensorFlow, so the padding is TensorFlow's: on an even
side a convolution of stride 2 pads one pixel more to the right and the bottom.

By the kernels alone, features of a strided layer are centred off the middle of their cell (block 10: 7.5 of 16 pixels).
Training has mostly corrected that: on images of parts, the squared gradients of blocks 2, 4, 7 and 10 are centred
within 2.7 pixels of the middle.  So a cell stands for the pixels that it covers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from trainer.encoders.base import Encoder

STRIDE = 8
"""Grid stride in pixels."""

_STEM = 32
"""Channels of the first layer."""

_EPSILON = 1e-3
"""TensorFlow's constant of batch normalisation; PyTorch's is 1e-5."""


class _Shape(NamedTuple):
    """One block: kernel, stride, expansion, channels, and its place among timm's stages."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    stage: int
    repeat: int


_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion, channels (efficientnet_lite_builder.py)."""

BLOCKS = tuple(
    _Shape(kernel, stride if repeat == 0 else 1, expansion, channels, stage, repeat)
    for stage, (count, kernel, stride, expansion, channels) in enumerate(_STAGES)
    for repeat in range(count)
)


class _Unit(nn.Module):
    """Convolution with TensorFlow's SAME padding of even sides, batch normalisation, optional ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        around = (kernel - stride) // 2
        self.pad: nn.Module = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.Identity()
        self.conv: nn.Conv2d = nn.Conv2d(inputs, outputs, kernel, stride, around, groups=groups, bias=False)
        nn.init.normal_(self.conv.weight, std=(2 * groups / (outputs * kernel * kernel)) ** 0.5)
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=_EPSILON)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(self.pad(x)))
        return functional.relu6(y) if self.relu else y

    def fuse(self) -> None:
        """Fold the batch normalisation, by its running means, into the convolution (evaluation mode only)."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class _Block(nn.Module):
    """Inverted residual: widen, convolve each channel by itself, narrow (MobileNetV2, section 3)."""

    def __init__(self, inputs: int, shape: _Shape) -> None:
        super().__init__()
        wide = inputs * shape.expansion
        self.expand: nn.Module = _Unit(inputs, wide) if shape.expansion > 1 else nn.Identity()
        self.depthwise = _Unit(wide, wide, shape.kernel, shape.stride, groups=wide)
        self.project = _Unit(wide, shape.channels, relu=False)
        self.skip = shape.stride == 1 and inputs == shape.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class Lite0Encoder(Encoder):
    """Outputs of several blocks of EfficientNet-Lite0, each averaged over 3x3 (PatchCore, section 3.1), concatenated on
    one grid of stride 8.

    The receptive field of block 2 is 19 pixels, of 4, 7 and 10 it is 67, 147 and 339, and the averaging adds two cells.
    The effective field is narrower: on images of parts, the squared gradients of block 10 have a standard deviation of
    one cell of 16 pixels, those of 2, 4 and 7 of half a cell of theirs.
    ``window`` is nominal: four cells of the deepest block, 64 pixels by default.

    Args:
        blocks: rising indices of 0 to 15; later blocks are not built.
        frozen: whether the batch statistics stay as loaded while the weights are trained (CutPaste, sections 4.3 and
            A.4); for pre-trained weights.
    """

    stride, by_channel, offset, deviation = STRIDE, True, 127.0, 128.0

    def __init__(self, blocks: Sequence[int] = (2, 4, 7, 10), *, frozen: bool = True) -> None:
        super().__init__()
        self.used, self.frozen = tuple(blocks), frozen
        self.scales = (sum(BLOCKS[index].channels for index in blocks),)
        self.stem = _Unit(3, _STEM, 3, 2)
        shapes = BLOCKS[: blocks[-1] + 1]
        inputs = [_STEM, *(shape.channels for shape in shapes)]
        self.blocks = nn.ModuleList(map(_Block, inputs, shapes))
        self._deepest = 2 * math.prod(shape.stride for shape in shapes)
        self.window = 4 * self._deepest
        self.train()

    def forward(self, image: Tensor) -> Tensor:
        """Map normalised images ``[n, 3, h, w]`` to features ``[n, channels, h / 8, w / 8]``, block after block.

        Raises:
            ValueError: a side is not a multiple of the grid's stride and of the deepest block's.
        """
        rows, columns = (len(self.centres(side)) for side in image.shape[2:])
        x = self.stem(image)
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.used:
                down = torch.tensor(resampling(x.shape[2], rows)).to(x)
                across = torch.tensor(resampling(x.shape[3], columns)).to(x)
                maps.append(down @ (x @ across.transpose(0, 1)))
        return torch.cat(maps, 1)

    def centres(self, side: int) -> Tensor:
        """See :meth:`trainer.encoders.base.Encoder.centres`."""
        multiple = max(STRIDE, self._deepest)
        if side < multiple or side % multiple:
            raise ValueError(f"the side of an image must be a multiple of {multiple}, not {side}")
        return (torch.arange(side // STRIDE, dtype=torch.float64) + 0.5) * STRIDE

    def fuse(self) -> None:
        """See :meth:`trainer.encoders.base.Encoder.fuse`."""
        for unit in [module for module in self.modules() if isinstance(module, _Unit)]:
            unit.fuse()

    def train(self, mode: bool = True) -> Lite0Encoder:
        """Switch to training or evaluation mode; frozen batch statistics are not updated in either mode."""
        super().train(mode)
        for module in self.modules():
            if self.frozen and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def own_name(self, key: str) -> str | None:
        """Return this network's name of a tensor in a file of weights.

        timm's ``tf_efficientnet_lite0`` is this network.  timm's ``efficientnet_lite0`` is not: it was trained in
        PyTorch with symmetric padding, an epsilon of 1e-5 and ImageNet's mean and deviation.  Its keys and shapes are
        the same, so its weights cannot be recognised; they load and give worse features.

        Args:
            key: name in ``efficientnet_lite_pytorch``, in timm or here.

        Returns:
            The name here, ``None`` for a layer that is not built; unknown keys are returned unchanged.
        """
        layer, _, leaf = key.rpartition(".")
        own = _published().get(layer, layer)
        block = re.match(r"blocks\.(\d+)\.", own)
        unused = own in _UNUSED or (block is not None and len(self.blocks) <= int(block[1]) < len(BLOCKS))
        return None if unused else f"{own}.{leaf}"


_UNUSED = ("_conv_head", "_bn1", "_fc", "conv_head", "bn2", "classifier")
"""Layers after the last block, in efficientnet_lite_pytorch and timm."""


@cache
def _published() -> dict[str, str]:
    """Return this network's name of every layer by its names in efficientnet_lite_pytorch and timm."""
    names = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "conv_stem": "stem.conv", "bn1": "stem.norm"}
    for index, shape in enumerate(BLOCKS):
        units = ("expand", "depthwise", "project") if shape.expansion > 1 else ("depthwise", "project")
        convolutions = ("conv_pw", "conv_dw", "conv_pwl") if shape.expansion > 1 else ("conv_dw", "conv_pw")
        for place, (unit, convolution) in enumerate(zip(units, convolutions, strict=True)):
            own = f"blocks.{index}.{unit}"
            timm, package = f"blocks.{shape.stage}.{shape.repeat}.", f"_blocks.{index}."
            names[f"{timm}{convolution}"] = names[f"{package}_{unit}_conv"] = f"{own}.conv"
            names[f"{timm}bn{place + 1}"] = names[f"{package}_bn{place + 3 - len(units)}"] = f"{own}.norm"
    return names


@cache
def resampling(count: int, positions: int) -> NDArray[np.float32]:
    """Return the matrix of a mean of three neighbours and a resampling to the grid: ``[positions, count]``.

    As a matrix product it needs no resize operator, on which the runtimes differ.  Finer maps are averaged over each
    cell, coarser ones interpolated linearly between the middles of their cells.  It is made by numpy, so that an export
    sees a constant: the ONNX optimiser folds small ones alone.
    """
    places = np.arange(count)
    near = abs(places[:, None] - places) <= 1
    cells = np.arange(positions)[:, None]
    if count > positions:
        inside = (places >= cells * count // positions) & (places < -(-(cells + 1) * count // positions))
        resampled = inside / inside.sum(1, keepdims=True)
    else:
        middle = np.clip((cells + 0.5) * count / positions - 0.5, 0, count - 1)
        resampled = np.clip(1 - abs(middle - places), 0, None)
    return np.asarray(resampled @ (near / near.sum(1, keepdims=True)), dtype=np.float32)

"""Photometric and geometric augmentations as batched tensor operations.

Every function takes images ``[n, 3, h, w]`` (float32, RGB, 0 to 1) on any device, draws one set of parameters an image
from the generator given, and returns images of the same shape.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B, as torchvision's ``rgb_to_grayscale`` uses."""


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Uniform random numbers in ``[low, high)`` on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def luma(images: Tensor) -> Tensor:
    """Grey value of each pixel, ``[n, 1, h, w]``."""
    weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply image ``i`` by ``factor[i]``; the result is clipped to 0..1."""
    return (images * factor.view(-1, 1, 1, 1)).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch image ``i`` about its mean grey value by ``factor[i]``; clipped to 0..1."""
    mean = luma(images).mean((2, 3), keepdim=True)
    return (mean + (images - mean) * factor.view(-1, 1, 1, 1)).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch the colours of image ``i`` about their grey values by ``factor[i]``; clipped to 0..1."""
    grey = luma(images)
    return (grey + (images - grey) * factor.view(-1, 1, 1, 1)).clamp(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn the hue of image ``i`` by ``shift[i]`` of the full circle (HSV hue, -0.5 to 0.5)."""
    value, chroma, hue = _hue(images)
    hue = (hue + 6 * shift.view(-1, 1, 1)) % 6
    # One formula for the three channels (HSV to RGB without branches): a channel is value - chroma * ramp.
    offsets = images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    k = (offsets + hue.unsqueeze(1)) % 6
    ramp = torch.minimum(k, 4 - k).clamp(0, 1)
    return value.unsqueeze(1) - chroma.unsqueeze(1) * ramp


def _hue(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    value, _ = images.max(1)
    chroma = value - images.amin(1)
    safe = chroma.clamp_min(1e-8)
    red, green, blue = images.unbind(1)
    hue = torch.where(
        value == red,
        ((green - blue) / safe) % 6,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return value, chroma, hue


def colour_jitter(images: Tensor, strength: float, generator: Generator, hue: bool = True) -> Tensor:
    """Brightness, contrast, saturation and hue, each at random up to ``strength``, in one random order a batch.

    CutPaste, A.2: patches are jittered "in random order, max intensity 0.1"; the scales of torchvision's ColorJitter.
    """
    if strength == 0:
        return images
    n = images.shape[0]

    def factor() -> Tensor:
        return uniform((n,), 1 - strength, 1 + strength, generator)

    steps = [
        lambda x: adjust_brightness(x, factor()),
        lambda x: adjust_contrast(x, factor()),
        lambda x: adjust_saturation(x, factor()),
    ]
    if hue:
        steps.append(lambda x: adjust_hue(x, uniform((n,), -strength, strength, generator)))
    for index in torch.randperm(len(steps), generator=generator, device=generator.device).tolist():
        images = steps[index](images)
    return images


def random_flip(images: Tensor, generator: Generator, horizontal: bool = True, vertical: bool = True) -> Tensor:
    """Mirror each image left-right and top-bottom, each with probability one half."""
    for axis, wanted in ((3, horizontal), (2, vertical)):
        if wanted:
            chosen = uniform((images.shape[0], 1, 1, 1), 0, 1, generator) < 0.5
            images = torch.where(chosen, images.flip(axis), images)
    return images


def random_shift(images: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Translate each image by up to ``fraction`` of its size along both axes; what enters is the mirrored edge.

    CutPaste, A.1, names "random translation" without a magnitude; the authors' code base uses 0.125.
    """
    if fraction == 0:
        return images
    n, _, height, width = images.shape
    device = images.device

    def indices(size: int) -> Tensor:
        reach = int(fraction * size)
        shift = torch.randint(-reach, reach + 1, (n, 1), generator=generator, device=device)
        position = (torch.arange(size, device=device) + shift).abs()
        return size - 1 - (size - 1 - position).abs()

    rows, columns = indices(height), indices(width)
    batch = torch.arange(n, device=device).view(n, 1, 1)
    return images.permute(0, 2, 3, 1)[batch, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)

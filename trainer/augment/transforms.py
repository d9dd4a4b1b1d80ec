"""Photometric and geometric augmentations as batched tensor operations.

Every function takes images ``[n, 3, h, w]`` (float32, RGB, 0 to 1) on any device, draws one set of parameters for each
image from the generator, and returns images of the same shape.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B, as torchvision's ``rgb_to_grayscale`` uses."""


def uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    """Draw uniform random numbers in ``[low, high)`` on the generator's device."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def luma(images: Tensor) -> Tensor:
    """Return the grey value of each pixel, ``[n, 1, h, w]``."""
    weights = images.new_tensor(_LUMA).view(1, 3, 1, 1)
    return (images * weights).sum(1, keepdim=True)


def take(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return rows (int64 ``[n, p]``) and columns (int64 ``[n, q]``) of each image: ``[n, c, p, q]``."""
    n, channels, _, width = images.shape
    index = (rows.unsqueeze(2) * width + columns.unsqueeze(1)).flatten(1).unsqueeze(1).expand(n, channels, -1)
    return images.flatten(2).gather(2, index).view(n, channels, rows.shape[1], columns.shape[1])


def adjust_hue(images: Tensor, shift: Tensor, saturation: Tensor | None = None) -> Tensor:
    """Turn the hue of image ``i`` by ``shift[i]`` of the full circle (HSV hue, -0.5 to 0.5).

    Colours outside of 0..1 keep their highest and their lowest channel's value.

    Args:
        images: ``[n, 3, h, w]``.
        shift: ``[n]``.
        saturation: factors ``[n]`` of the HSV saturation, which becomes at most 1: a pixel with a positive channel ends
            without a negative one; a pixel without, grey.
    """
    red, green, blue = images.unbind(1)
    value, low = torch.maximum(torch.maximum(red, green), blue), torch.minimum(torch.minimum(red, green), blue)
    chroma = value - low
    # In sixths of the circle: the channel that is largest gives the third, the other two where in it.
    hue = torch.where(
        value == red,
        green - blue,
        torch.where(value == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4)),
    )
    hue = hue.div_(chroma.clamp_min(1e-8)).add_(6 * shift.view(-1, 1, 1))
    if saturation is not None:
        chroma = torch.minimum(chroma * saturation.view(-1, 1, 1), value.clamp_min(0))
    # One formula for the three channels (HSV to RGB without branches): a channel is value - chroma * ramp.
    offsets = images.new_tensor([5.0, 3.0, 1.0]).view(1, 3, 1, 1)
    k = (hue.unsqueeze(1) + offsets).remainder_(6)
    ramp = torch.minimum(k, 4 - k).clamp_(0, 1)
    return torch.addcmul(value.unsqueeze(1), chroma.unsqueeze(1), ramp, value=-1)


def colour_jitter(
    images: Tensor, strength: float, generator: Generator, hue: bool = True, mean: Tensor | None = None
) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image at random, up to ``strength``, in a random order.

    CutPaste, A.2: patches are jittered "in random order, max intensity 0.1", with torchvision's scales.
    The two-stage paper has another jitter, :func:`trainer.augment.views.jitter`.

    Except for clipping, which is done once at the end, brightness, contrast and saturation commute; the order of hue
    only decides whose grey values the other two stretch about.  So all are one pass over the pixels, and each image
    draws whether its hue is turned before or after the rest.

    Args:
        images: ``[n, 3, h, w]``.
        strength: maximum change of each property, 0 to below 1.
        generator: source of all randomness.
        hue: whether to turn the hue, by up to ``strength`` of the full circle.
        mean: grey values ``[n]`` that contrast stretches about; by default the mean of each image.
    """
    if strength == 0:
        return images
    n, device = images.shape[0], generator.device
    spread = (2 * torch.rand(4, n, generator=generator, device=device) - 1) * strength
    brightness, contrast, saturation = 1 + spread[:3]
    first = torch.rand(n, generator=generator, device=device) < 0.5
    if not hue:
        return adjust_colour(images, brightness, contrast, saturation, mean=mean)
    turned = adjust_hue(images, spread[3])
    grey = torch.where(first.view(-1, 1, 1, 1), luma(turned), luma(images))
    return adjust_colour(turned, brightness, contrast, saturation, grey, mean)


def adjust_colour(
    images: Tensor,
    brightness: Tensor,
    contrast: Tensor,
    saturation: Tensor,
    grey: Tensor | None = None,
    mean: Tensor | None = None,
) -> Tensor:
    """Multiply colours, stretch them about the mean grey value and stretch them about their own, in one pass.

    Args:
        images: ``[n, 3, h, w]``.
        brightness: factor ``[n]`` of the colours; as below, 1 changes nothing.
        contrast: factor ``[n]`` of the differences to ``mean``.
        saturation: factor ``[n]`` of the differences to ``grey``.
        grey: grey values that saturation stretches about, ``[n, 1, h, w]``; by default those of the images.
        mean: grey values that contrast stretches about, ``[n]``; by default the means of ``grey``.

    Returns:
        New images, clipped to 0..1 at the end alone.
    """
    grey = luma(images) if grey is None else grey
    mean = grey.mean((1, 2, 3)) if mean is None else mean

    def column(value: Tensor) -> Tensor:
        return value.view(-1, 1, 1, 1)

    # b * (c * (s * x + (1 - s) * grey) + (1 - c) * mean), with what is alike in the three channels worked out once.
    alike = grey * column(brightness * contrast * (1 - saturation)) + column(brightness * (1 - contrast) * mean)
    return torch.addcmul(alike, images, column(brightness * contrast * saturation)).clamp_(0, 1)


def random_flip(images: Tensor, generator: Generator, horizontal: bool = True, vertical: bool = True) -> Tensor:
    """Mirror each image left-right and top-bottom, each with probability one half."""
    n, _, height, width = images.shape
    device = images.device

    def indices(size: int, wanted: bool) -> Tensor:
        position = torch.arange(size, device=device).expand(n, size)
        if not wanted:
            return position
        chosen = torch.rand(n, 1, generator=generator, device=device) < 0.5
        return torch.where(chosen, size - 1 - position, position)

    if not (horizontal or vertical):
        return images
    columns = indices(width, horizontal)
    return take(images, indices(height, vertical), columns)


def random_shift(images: Tensor, fraction: float, generator: Generator) -> Tensor:
    """Translate each image by up to ``fraction`` of its size along both axes, with reflection at the edges.

    CutPaste, A.1, names "random translation" without a magnitude; the authors' code base uses 0.125.

    Args:
        images: ``[n, c, h, w]``.
        fraction: of height and width.
        generator: source of all randomness.
    """
    n, _, height, width = images.shape
    device = images.device

    def indices(size: int) -> Tensor:
        reach = int(fraction * size)
        shift = torch.randint(-reach, reach + 1, (n, 1), generator=generator, device=device)
        position = (torch.arange(size, device=device) + shift).abs()
        return size - 1 - (size - 1 - position).abs()

    if fraction == 0:
        return images
    rows = indices(height)
    return take(images, rows, indices(width))

"""CutPaste and CutPaste-Scar as batched tensor operations (CutPaste, sections 3.1 and A.2).

A paste takes a rectangle of an image and lays it, jittered in colour and perhaps turned, somewhere else in the same
image. Both kinds are one operation: for every pixel of the target rectangle, look up the source pixel under it.  The
look-up is nearest-neighbour, as interpolation would blur the patch and give the network something easier to find than
a seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trainer.augment import uniform


@dataclass(frozen=True)
class Pastes:
    """One rectangle an image: float32 tensors ``[n]``, pixels and radians.

    Attributes:
        height, width: size of the rectangle before it is turned.
        angle: rotation of the pasted rectangle, counter-clockwise as seen with the y axis pointing down.
        source_y, source_x: centre of the rectangle that is cut (never turned).
        target_y, target_x: centre of the rectangle that is covered.
    """

    height: Tensor
    width: Tensor
    angle: Tensor
    source_y: Tensor
    source_x: Tensor
    target_y: Tensor
    target_x: Tensor


def sample_cutpaste(
    n: int, size: tuple[int, int], area: tuple[float, float], aspect: float, generator: Generator
) -> Pastes:
    """Axis-aligned rectangles with an area of ``area`` (fractions of the image) and both places inside the image.

    The aspect ratio is log-uniform in ``[1 / aspect, aspect]``; the paper has 3.3 (METHOD of RandomErasing).  Sizes are
    whole pixels, and centres lie so that edges fall on pixel borders.
    """
    image_height, image_width = size
    pixels = uniform((n,), *area, generator) * image_height * image_width
    ratio = torch.exp(uniform((n,), -1, 1, generator) * torch.log(torch.tensor(aspect)))
    height = (pixels * ratio).sqrt().round().clamp(1, image_height)
    width = (pixels / ratio).sqrt().round().clamp(1, image_width)

    def centre(extent: Tensor, limit: int) -> Tensor:
        return (uniform((n,), 0, 1, generator) * (limit - extent + 1)).floor() + extent / 2

    return Pastes(
        height,
        width,
        torch.zeros_like(height),
        centre(height, image_height),
        centre(width, image_width),
        centre(height, image_height),
        centre(width, image_width),
    )


def sample_scar(
    n: int,
    size: tuple[int, int],
    width: tuple[float, float],
    length: tuple[float, float],
    angle: float,
    generator: Generator,
) -> Pastes:
    """Thin rectangles turned by up to ``angle`` degrees; the paper has 2-16 px by 10-25 px and 45 degrees.

    The longer side lies along either axis before the turn, so that scars of every direction occur.  The turned
    rectangle lies inside the image as far as the image is large enough.
    """
    image_height, image_width = size
    thin = uniform((n,), *width, generator).round().clamp(1, image_width)
    long = uniform((n,), *length, generator).round().clamp(1, image_height)
    upright = uniform((n,), 0, 1, generator) < 0.5
    rows, columns = torch.where(upright, long, thin), torch.where(upright, thin, long)
    turn = torch.deg2rad(uniform((n,), -angle, angle, generator))
    reach_y = (rows * turn.cos().abs() + columns * turn.sin().abs()) / 2
    reach_x = (columns * turn.cos().abs() + rows * turn.sin().abs()) / 2

    def centre(reach: Tensor, limit: int) -> Tensor:
        return reach + uniform((n,), 0, 1, generator) * (limit - 2 * reach).clamp_min(0)

    return Pastes(
        rows,
        columns,
        turn,
        centre(rows / 2, image_height),
        centre(columns / 2, image_width),
        centre(reach_y, image_height),
        centre(reach_x, image_width),
    )


def paste(images: Tensor, patches: Tensor, pastes: Pastes) -> tuple[Tensor, Tensor]:
    """Lay one rectangle of ``patches`` into each image.

    Args:
        images: the images to cover, ``[n, c, h, w]``.
        patches: where rectangles are cut from, same shape: the images again, jittered in colour.
        pastes: one rectangle an image.

    Returns:
        The pasted images, and the covered pixels as bool ``[n, 1, h, w]``.
    """
    n, channels, height, width = images.shape
    y = torch.arange(height, device=images.device, dtype=torch.float32).view(1, height, 1) + 0.5
    x = torch.arange(width, device=images.device, dtype=torch.float32).view(1, 1, width) + 0.5

    def column(value: Tensor) -> Tensor:
        return value.view(n, 1, 1)

    dy, dx = y - column(pastes.target_y), x - column(pastes.target_x)
    cos, sin = column(pastes.angle.cos()), column(pastes.angle.sin())
    v, u = cos * dy + sin * dx, cos * dx - sin * dy
    inside = (v.abs() < column(pastes.height) / 2) & (u.abs() < column(pastes.width) / 2)
    rows = (v + column(pastes.source_y)).floor().long().clamp(0, height - 1)
    columns = (u + column(pastes.source_x)).floor().long().clamp(0, width - 1)
    index = (rows * width + columns).view(n, 1, height * width).expand(n, channels, -1)
    moved = patches.flatten(2).gather(2, index).view_as(images)
    mask = inside.unsqueeze(1)
    return torch.where(mask, moved, images), mask

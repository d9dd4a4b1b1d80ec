"""CutPaste and CutPaste-Scar as batched tensor operations (CutPaste, sections 2.2, 2.3 and A.2).

A paste copies a rectangle of an image, jittered in colour and perhaps turned, to another place of the same image.  Both
kinds are one operation: for every pixel of the target rectangle, look up the source pixel under it.  The look-up is
nearest-neighbour, because interpolation would blur the patch, and the network would find blur instead of the seam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from trainer.augment.transforms import uniform


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


@dataclass(frozen=True)
class Footprint:
    """The pixels of pastes, in boxes of one size that hold the rectangles: tensors ``[n, p, q]``.

    Attributes:
        target, source: indices into an image's pixels in reading order: of each pixel of the box, and of the pixel
            copied to it; int64.
        inside: whether the pixel lies in the rectangle.
    """

    target: Tensor
    source: Tensor
    inside: Tensor


def sample_cutpaste(
    n: int, size: tuple[int, int], area: tuple[float, float], aspect: float, generator: Generator
) -> Pastes:
    """Draw axis-aligned rectangles with an area within ``area`` (shares of the image), wholly inside the image.

    The aspect ratio is log-uniform in ``[1 / aspect, aspect]``, with 3.3 in the paper (as Random Erasing, Zhong et al.,
    2020).  Sizes are whole pixels, and edges lie on pixel borders.
    """
    image_height, image_width = size
    pixels = uniform((n,), *area, generator) * image_height * image_width
    ratio = torch.exp(uniform((n,), -1, 1, generator) * math.log(aspect))
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
    """Draw thin rectangles turned by up to ``angle`` degrees; the paper has 2-16 px by 10-25 px and 45 degrees.

    The longer side lies along either axis before the turn, so that scars have every direction.  The turned rectangle
    lies inside the image if the image is large enough.
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


def select(chosen: Tensor, yes: Pastes, no: Pastes) -> Pastes:
    """Return rectangles of ``yes`` where ``chosen`` (bool ``[n]``) is true, else those of ``no``."""
    return Pastes(*(torch.where(chosen, getattr(yes, field.name), getattr(no, field.name)) for field in fields(Pastes)))


def extent_of_cutpaste(size: tuple[int, int], area: tuple[float, float], aspect: float) -> int:
    """Return the maximum extent in pixels of a rectangle of :func:`sample_cutpaste`, along either axis."""
    return math.ceil(math.sqrt(area[1] * aspect * size[0] * size[1])) + 1


def extent_of_scar(width: tuple[float, float], length: tuple[float, float]) -> int:
    """Return the maximum extent in pixels of a rectangle of :func:`sample_scar`, along either axis."""
    return math.ceil(math.hypot(round(width[1]), round(length[1]))) + 1


def footprint(pastes: Pastes, size: tuple[int, int], extent: int | None = None) -> Footprint:
    """Return the pixels that pastes cover, and the pixels that are copied to them.

    Args:
        pastes: one rectangle an image.
        size: height and width of the images.
        extent: maximum extent in pixels of a rectangle along either axis, and so the size of the boxes; ``None``:
            the boxes are as large as the images.
    """
    height, width = size
    device = pastes.height.device

    def column(value: Tensor) -> Tensor:
        return value.view(-1, 1, 1)

    def positions(target: Tensor, limit: int) -> Tensor:
        side = limit if extent is None else min(extent + 1, limit)
        first = (target - side / 2).floor().clamp(0, limit - side).long()
        return first.unsqueeze(1) + torch.arange(side, device=device)

    y, x = positions(pastes.target_y, height).unsqueeze(2), positions(pastes.target_x, width).unsqueeze(1)
    dy, dx = y + 0.5 - column(pastes.target_y), x + 0.5 - column(pastes.target_x)
    cos, sin = column(pastes.angle.cos()), column(pastes.angle.sin())
    v, u = cos * dy + sin * dx, cos * dx - sin * dy
    inside = (v.abs() < column(pastes.height) / 2) & (u.abs() < column(pastes.width) / 2)
    rows = (v + column(pastes.source_y)).floor().long().clamp(0, height - 1)
    columns = (u + column(pastes.source_x)).floor().long().clamp(0, width - 1)
    return Footprint(y * width + x, rows * width + columns, inside)


def cut(images: Tensor, index: Tensor) -> Tensor:
    """Return the pixels of each image at indices ``[n, p, q]`` in reading order: ``[n, c, p, q]``."""
    n, channels = images.shape[:2]
    return (
        images.flatten(2)
        .gather(2, index.flatten(1).unsqueeze(1).expand(n, channels, -1))
        .view(n, channels, *index.shape[1:])
    )


def lay(images: Tensor, where: Footprint, boxes: Tensor) -> None:
    """Write the pixels of ``boxes`` (``[n, c, p, q]``) inside their rectangles into contiguous images, in place."""
    n, channels = images.shape[:2]
    index = where.target.flatten(1).unsqueeze(1).expand(n, channels, -1)
    content = torch.where(where.inside.unsqueeze(1), boxes, cut(images, where.target))
    images.view(n, channels, -1).scatter_(2, index, content.flatten(2))


def paste(images: Tensor, patches: Tensor, pastes: Pastes) -> tuple[Tensor, Tensor]:
    """Copy one rectangle of ``patches`` into each image.

    Args:
        images: the images to cover, ``[n, c, h, w]``.
        patches: the images that rectangles are cut from, same shape: the images again, jittered in colour.
        pastes: one rectangle an image.

    Returns:
        The pasted images, and the covered pixels as bool ``[n, 1, h, w]``.
    """
    where = footprint(pastes, (images.shape[2], images.shape[3]))
    mask = where.inside.unsqueeze(1)
    return torch.where(mask, cut(patches, where.source), images), mask

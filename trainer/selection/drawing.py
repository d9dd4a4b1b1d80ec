"""Geometry of synthetic defects: coordinates, translations, noise, curves and shapes, batched over images.

Pixel ``i`` spans ``i`` to ``i + 1``; points are ``(y, x)`` in pixels.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn import functional

from trainer.augment.transforms import uniform

_STENCIL = 96  # side in pixels, about that of the largest shape in an image of 256 pixels
_DIGITS = 100  # of 1,797
_LATTICE = 32  # period of the noise in cells
_SEGMENTS = 12  # straight pieces of a stroke: at most 0.2 pixels off the longest and most bent at 256


def around(images: Tensor, centre: Tensor, angle: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return every pixel's coordinates about a centre ``[2, n]``, turned by an angle ``[n]``: two ``[n, h, w]``."""
    n, _, height, width = images.shape
    dy = torch.arange(height, device=images.device).view(1, -1, 1) + 0.5 - centre[0].view(n, 1, 1)
    dx = torch.arange(width, device=images.device).view(1, 1, -1) + 0.5 - centre[1].view(n, 1, 1)
    if angle is None:
        return dy, dx
    cos, sin = angle.cos().view(n, 1, 1), angle.sin().view(n, 1, 1)
    return cos * dy + sin * dx, cos * dx - sin * dy


def moved(others: Tensor, source: Tensor, target: Tensor, scale: Tensor) -> Tensor:
    """Move the point ``source`` of each image to ``target``, bilinearly, with reflection at the border.

    Args:
        others: images ``[n, c, h, w]``.
        source: points ``(y, x)`` in pixels, ``[2, n]``.
        target: points to move them to, ``[2, n]``.
        scale: magnification along y and x, ``[2, n]``; negative values mirror.
    """
    n, _, height, width = others.shape
    v, u = around(others, target)
    y = v / scale[0].view(-1, 1, 1) + source[0].view(-1, 1, 1)
    x = u / scale[1].view(-1, 1, 1) + source[1].view(-1, 1, 1)
    across, down = (2 * x / width - 1).expand(n, height, width), (2 * y / height - 1).expand(n, height, width)
    grid = torch.stack([across, down], dim=3)
    return functional.grid_sample(others, grid, "bilinear", "reflection", align_corners=False)


def perlin_noise(shape: tuple[int, int, int], cell: Tensor, generator: Generator) -> Tensor:
    """Return gradient noise ``[n, h, w]`` with Perlin's quintic fade, about -0.7 to 0.7.

    The gradients repeat after 32 cells.

    Args:
        shape: ``n, h, w``.
        cell: side of a lattice cell in pixels, ``[n]``.
        generator: draws the angles of the gradients, ``[n, 32, 32]``.
    """
    n, *size = shape
    angles = uniform((n, _LATTICE, _LATTICE), 0, 2 * math.pi, generator)
    gradients = torch.stack([angles.sin(), angles.cos()], dim=3)
    batch = torch.arange(n, device=cell.device).view(n, 1, 1)
    y, x = ((torch.arange(s, device=cell.device) + 0.5) / cell.view(n, 1) for s in size)

    def corner(down: int, right: int) -> Tensor:
        rows, columns = y.floor() + down, x.floor() + right
        gradient = gradients[batch, rows.long().unsqueeze(2) % _LATTICE, columns.long().unsqueeze(1) % _LATTICE]
        return gradient[..., 0] * (y - rows).unsqueeze(2) + gradient[..., 1] * (x - columns).unsqueeze(1)

    def fade(t: Tensor) -> Tensor:
        return t**3 * (t * (6 * t - 15) + 10)

    across, down = fade(x.frac()).unsqueeze(1), fade(y.frac()).unsqueeze(2)
    top, bottom = torch.lerp(corner(0, 0), corner(0, 1), across), torch.lerp(corner(1, 0), corner(1, 1), across)
    return torch.lerp(top, bottom, down)


def curve_distance(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the distance in pixels of every pixel centre from a quadratic Bezier curve, drawn as 12 straight pieces.

    Args:
        points: the three control points ``(y, x)`` of each curve, ``[3, 2, n]``.
        size: height and width.

    Returns:
        ``[n, h, w]``.
    """
    t = torch.linspace(0, 1, _SEGMENTS + 1, device=points.device).view(-1, 1, 1)
    knots = (1 - t) ** 2 * points[0] + 2 * t * (1 - t) * points[1] + t**2 * points[2]
    y = torch.arange(size[0], device=points.device).view(1, -1, 1) + 0.5
    x = torch.arange(size[1], device=points.device).view(1, 1, -1) + 0.5
    nearest = points.new_full((points.shape[2], *size), math.inf)
    for start, step in zip(knots[:-1], knots.diff(dim=0), strict=True):
        (from_y, from_x), (step_y, step_x) = (vector.view(2, -1, 1, 1) for vector in (start, step))
        length = (step_y.square() + step_x.square()).clamp_min(1e-12)
        along = (((y - from_y) * step_y + (x - from_x) * step_x) / length).clamp(0, 1)
        nearest = torch.minimum(
            nearest, (y - from_y - along * step_y).square() + (x - from_x - along * step_x).square()
        )
    return nearest.sqrt()


@cache
def stencils() -> Tensor:
    """Return the shapes of CutPaste, table 6, bool ``[k, 96, 96]``: square, ellipse (2:1), heart, 100 digits."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second, and only model selection draws

    position = (torch.arange(_STENCIL) + 0.5) / _STENCIL * 2 - 1
    y, x = position.view(-1, 1), position.view(1, -1)
    square = torch.ones(_STENCIL, _STENCIL, dtype=torch.bool)
    ellipse = x.square() + (2 * y).square() < 1
    heart = ((1.2 * x) ** 2 + (1.2 * y) ** 2 - 1) ** 3 + (1.2 * x) ** 2 * (1.2 * y) ** 3 < 0
    digits = torch.from_numpy(load_digits().images[:_DIGITS]).float().unsqueeze(1) / 16
    digits = functional.interpolate(digits, (_STENCIL, _STENCIL), mode="bicubic").squeeze(1) > 0.5
    return torch.cat([torch.stack([square, ellipse, heart]), digits])

"""Exact Poisson blending of one rectangle in each image, batched (Perez et al., 2003; NSA, Schlüter et al., 2022).

Inside the rectangle the result has the gradients of the source and meets the target without a seam: it solves the
discrete Poisson equation with the target's pixels around the rectangle as boundary values.  On a rectangle, sines
diagonalise that equation, so the solution is four small matrix products.  Each image has sine bases of its own height
and width, padded with zeros to the largest rectangle of the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.augment.paste import Pastes


def poisson_blend(images: Tensor, patches: Tensor, pastes: Pastes, *, mixed: bool = False) -> tuple[Tensor, Tensor]:
    """Blend one rectangle of ``patches`` into each image, where :func:`trainer.augment.paste.paste` would copy it.

    The outermost pixels of an image have no outer neighbours and are never covered: a rectangle that reaches them is
    clipped.  Source pixels beyond the border of ``patches`` repeat its edge.

    Args:
        images: the images to blend into, float ``[n, c, h, w]``, 0 to 1.
        patches: images that rectangles are cut from, same shape.
        pastes: one rectangle for each image, not rotated.
        mixed: whether to take the larger difference of source and target between two neighbours (Perez et al., equation
            13), for each channel, so that textures of the target show through flat areas of the source.

    Returns:
        The blended images, clipped to 0..1 where covered, and the covered pixels as bool ``[n, 1, h, w]``.

    Raises:
        ValueError: a rectangle is rotated.
    """
    if pastes.angle.any():
        raise ValueError("Poisson blending takes rectangles that are not rotated")
    n, channels, height, width = images.shape
    inside_y, rows, from_y, basis_y, values_y = _axis(images, pastes.height, pastes.target_y, pastes.source_y, height)
    inside_x, columns, from_x, basis_x, values_x = _axis(images, pastes.width, pastes.target_x, pastes.source_x, width)

    def flat(y: Tensor, x: Tensor) -> Tensor:
        return (y.unsqueeze(2) * width + x.unsqueeze(1)).view(n, 1, -1).expand(n, channels, -1)

    shape = (n, channels, rows.shape[1], columns.shape[1])
    index = flat(rows, columns)
    target = images.flatten(2).gather(2, index).view(shape)
    source = patches.flatten(2).gather(2, flat(from_y, from_x)).view(shape)

    # The unknown is the change u of the target; it is zero on the boundary, as a sine series is.
    residual = _divergence(source, target, mixed)
    spectrum = basis_y @ residual @ basis_x / (values_y.unsqueeze(2) + values_x.unsqueeze(1)).unsqueeze(1)
    target[:, :, 1:-1, 1:-1] = (target[:, :, 1:-1, 1:-1] + basis_y @ spectrum @ basis_x).clamp(0, 1)

    # Beyond a smaller rectangle u is zero; indices clipped to the image fall on outermost pixels, which never change.
    blended = images.flatten(2).scatter(2, index, target.flatten(2)).view_as(images)
    return blended, (inside_y.unsqueeze(2) & inside_x.unsqueeze(1)).unsqueeze(1)


def _axis(
    images: Tensor, extent: Tensor, target: Tensor, source: Tensor, limit: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Set up one axis of the problem; ``p`` is the largest number of covered positions in the batch.

    Returns:
        Covered positions, bool ``[n, limit]``; target and source indices of the covered positions and one more on
        either side, int64 ``[n, p + 2]``; orthonormal sine basis ``[n, 1, p, p]``; eigenvalues ``[n, p]``.
    """
    device = images.device
    position = torch.arange(limit, device=device)
    inside = (position + 0.5 - target.unsqueeze(1)).abs() < extent.unsqueeze(1) / 2
    inside[:, 0] = inside[:, -1] = False
    count = inside.sum(1, keepdim=True)
    largest = int(count.max())
    first = inside.int().argmax(1, keepdim=True)
    rows = (first + torch.arange(-1, largest + 1, device=device)).clamp(0, limit - 1)
    from_rows = (rows + 0.5 - target.unsqueeze(1) + source.unsqueeze(1)).floor().long().clamp(0, limit - 1)

    k = torch.arange(1, largest + 1, device=device)
    used = k <= count
    # The angle is reduced in whole numbers, because a float32 sine of a hundred turns loses two digits.
    period = 2 * (count + 1).unsqueeze(2)
    turns = (k.view(1, -1, 1) * k).remainder(period).to(images.dtype) / period
    scale = (4 / period.to(images.dtype)).sqrt()
    basis = scale * torch.sin(2 * math.pi * turns) * (used.unsqueeze(2) & used.unsqueeze(1))
    values = 2 - 2 * torch.cos(math.pi * k / (count + 1).to(images.dtype))
    return inside, rows, from_rows, basis.unsqueeze(1), values.masked_fill(~used, 1)


def _divergence(source: Tensor, target: Tensor, mixed: bool) -> Tensor:
    """Return the sum, over the four neighbours, of the wanted difference minus the target's: ``[n, c, p, q]``."""

    def excess(axis: int) -> Tensor:
        wanted, present = source.diff(dim=axis), target.diff(dim=axis)
        difference = wanted - present
        return difference * (wanted.abs() > present.abs()) if mixed else difference

    across_y, across_x = excess(2)[:, :, :, 1:-1], excess(3)[:, :, 1:-1]
    return -across_y.diff(dim=2) - across_x.diff(dim=3)

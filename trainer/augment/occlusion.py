"""What CutPaste is compared with: rectangles of one colour, and confetti noise (CutPaste, sections 4.1 and 5.1).

Batched tensor operations on images ``[n, 3, h, w]`` (float32, RGB, 0 to 1), on any device.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from trainer.augment.paste import Pastes, footprint, lay
from trainer.augment.transforms import uniform

# Confetti noise is FCDD's (Liznerski et al., 2021): mode "confetti" in liznerski/fcdd,
# python/fcdd/datasets/noise_modes.py and online_supervisor.py, whose numbers these are.
CONFETTI_COLOURED, CONFETTI_BLACK = 1.8e-5, 1.2e-5
"""Squares a pixel of the image: those that take away a random share of each colour, and those that take away all."""

CONFETTI_SIDE = (8, 54)
"""Shortest and longest side of a square in pixels; FCDD's images had 240."""

CONFETTI_ANGLE = 45.0
"""Largest turn of a square in degrees."""

CONFETTI_KERNEL, CONFETTI_SIGMA = 25, 5.0
"""Side and deviation, in pixels, of the Gaussian that smooths the noise."""

CONFETTI_LEAST = 0.025 / 255
"""Where taking colour away changes the mean of an image by less (as on black ones), colour is added instead."""


def cover(images: Tensor, colours: Tensor, rectangles: Pastes) -> Tensor:
    """Fill one rectangle of each image with one colour.

    Args:
        images: ``[n, 3, h, w]``.
        colours: ``[n, 3]``.
        rectangles: one an image; where they would be cut from does not matter.
    """
    inside = footprint(rectangles, (images.shape[2], images.shape[3])).inside
    return torch.where(inside.unsqueeze(1), colours.view(-1, 3, 1, 1), images)


def random_colours(n: int, generator: Generator) -> Tensor:
    """Uniform RGB colours ``[n, 3]`` in 0..1."""
    return uniform((n, 3), 0, 1, generator)


def confetti(images: Tensor, generator: Generator) -> Tensor:
    """Change the colour of a few soft, turned squares of each image."""
    n, size = len(images), (images.shape[2], images.shape[3])
    extent = math.ceil(math.sqrt(2) * CONFETTI_SIDE[1]) + 1
    noise = torch.zeros_like(images)
    for rate, coloured in ((CONFETTI_COLOURED, True), (CONFETTI_BLACK, False)):
        layer = torch.zeros_like(images, memory_format=torch.contiguous_format)
        for squares in sample_squares(n, size, rate, generator):
            colours = random_colours(n, generator) if coloured else images.new_ones(n, 3)
            where = footprint(squares, size, extent)
            lay(layer, where, -colours.view(n, 3, 1, 1).expand(-1, -1, *where.inside.shape[1:]))
        noise = noise + layer
    return add_noise(images, smooth(noise))


def sample_squares(n: int, size: tuple[int, int], rate: float, generator: Generator) -> list[Pastes]:
    """Turned squares whose centres lie anywhere in images of ``size``, ``rate`` a pixel but at least one an image.

    Returns:
        One square an image in each element; those that an image does not have are of size zero.
    """
    height, width = size
    mean = rate * height * width
    # The count is Poisson's where FCDD has a coin for every pixel; five deviations above the mean hardly occur.
    most = math.ceil(mean + 5 * math.sqrt(mean))
    chances = torch.tensor([mean**k / math.factorial(k) for k in range(1, most + 1)], device=generator.device)
    counts = 1 + torch.multinomial(chances, n, replacement=True, generator=generator)
    low, high = CONFETTI_SIDE
    squares = []
    for k in range(most):
        side = torch.randint(low, high + 1, (n,), generator=generator, device=generator.device) * (counts > k)
        y, x = uniform((n,), 0, height, generator), uniform((n,), 0, width, generator)
        turn = torch.deg2rad(uniform((n,), -CONFETTI_ANGLE, CONFETTI_ANGLE, generator))
        squares.append(Pastes(side.float(), side.float(), turn, y, x, y, x))
    return squares


def smooth(noise: Tensor) -> Tensor:
    """Confetti's Gaussian filter; what lies beyond the border is mirrored."""
    reach = CONFETTI_KERNEL // 2
    offsets = torch.arange(-reach, reach + 1, device=noise.device)
    weights = torch.softmax(-offsets.to(noise.dtype).square() / (2 * CONFETTI_SIGMA**2), 0)

    def along(size: int) -> Tensor:
        position = (torch.arange(size, device=noise.device).unsqueeze(1) + offsets).abs()
        mirrored = size - 1 - (size - 1 - position).abs()
        return noise.new_zeros(size, size).scatter_add(1, mirrored, weights.expand(size, -1))

    return along(noise.shape[2]) @ (noise @ along(noise.shape[3]).transpose(0, 1))


def add_noise(images: Tensor, noise: Tensor) -> Tensor:
    """Add to each image, clipped to 0..1; with the other sign where that changes it and this does not."""
    darker, lighter = (images + noise).clamp(0, 1), (images - noise).clamp(0, 1)
    change, other = ((result - images).mean((1, 2, 3), keepdim=True).abs() for result in (darker, lighter))
    return torch.where((change < CONFETTI_LEAST) & (other > change), lighter, darker)

"""The baselines of CutPaste: rectangles of one colour, and confetti noise (CutPaste, sections 4.1 and 5.1).

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
"""Number of squares for each pixel of the image: squares that remove a random share of each colour, and all colour."""

CONFETTI_SIDE = (8, 54)
"""Shortest and longest side of a square in pixels; FCDD's images had 240."""

CONFETTI_ANGLE = 45.0
"""Largest rotation of a square in degrees."""

CONFETTI_KERNEL, CONFETTI_SIGMA = 25, 5.0
"""Side and deviation, in pixels, of the Gaussian that smooths the noise."""

CONFETTI_MIN_CHANGE = 0.025 / 255
"""Minimum change of the mean of an image; if removing colour changes less (black images), colour is added."""


def cover(images: Tensor, colours: Tensor, rectangles: Pastes) -> Tensor:
    """Fill one rectangle of each image with one colour.

    Args:
        images: ``[n, 3, h, w]``.
        colours: ``[n, 3]``.
        rectangles: one for each image; their sources are not used.
    """
    inside = footprint(rectangles, (images.shape[2], images.shape[3])).inside
    return torch.where(inside.unsqueeze(1), colours.view(-1, 3, 1, 1), images)


def random_colours(n: int, generator: Generator) -> Tensor:
    """Draw uniform RGB colours ``[n, 3]`` in 0..1."""
    return uniform((n, 3), 0, 1, generator)


def confetti(images: Tensor, generator: Generator) -> Tensor:
    """Change the colour of a few soft, rotated squares of each image."""
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
    """Draw rotated squares centred anywhere in images of ``size``: ``rate`` for each pixel, at least one in an image.

    Returns:
        One square for each image in each element; squares that an image does not have are of size zero.
    """
    height, width = size
    mean = rate * height * width
    # The count is Poisson-distributed; FCDD draws for every pixel.  Five deviations above the mean hardly occur.
    max_count = math.ceil(mean + 5 * math.sqrt(mean))
    chances = torch.tensor([mean**k / math.factorial(k) for k in range(1, max_count + 1)], device=generator.device)
    counts = 1 + torch.multinomial(chances, n, replacement=True, generator=generator)
    low, high = CONFETTI_SIDE
    squares = []
    for k in range(max_count):
        side = torch.randint(low, high + 1, (n,), generator=generator, device=generator.device) * (counts > k)
        y, x = uniform((n,), 0, height, generator), uniform((n,), 0, width, generator)
        turn = torch.deg2rad(uniform((n,), -CONFETTI_ANGLE, CONFETTI_ANGLE, generator))
        squares.append(Pastes(side.float(), side.float(), turn, y, x, y, x))
    return squares


def smooth(noise: Tensor) -> Tensor:
    """Smooth with confetti's Gaussian filter, with reflection at the border."""
    reach = CONFETTI_KERNEL // 2
    offsets = torch.arange(-reach, reach + 1, device=noise.device)
    weights = torch.softmax(-offsets.to(noise.dtype).square() / (2 * CONFETTI_SIGMA**2), 0)

    def along(size: int) -> Tensor:
        position = (torch.arange(size, device=noise.device).unsqueeze(1) + offsets).abs()
        mirrored = size - 1 - (size - 1 - position).abs()
        return noise.new_zeros(size, size).scatter_add(1, mirrored, weights.expand(size, -1))

    return along(noise.shape[2]) @ (noise @ along(noise.shape[3]).transpose(0, 1))


def add_noise(images: Tensor, noise: Tensor) -> Tensor:
    """Add noise to each image, clipped to 0..1; with the other sign if only that changes the image."""
    darker, lighter = (images + noise).clamp(0, 1), (images - noise).clamp(0, 1)
    change, other = ((result - images).mean((1, 2, 3), keepdim=True).abs() for result in (darker, lighter))
    return torch.where((change < CONFETTI_MIN_CHANGE) & (other > change), lighter, darker)

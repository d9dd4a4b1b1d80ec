"""Contrastive learning with distribution augmentation: rotated and mirrored copies count as images of their own
(two-stage paper, section 4).

Contrastive learning alone spreads normal images over the whole sphere, so that any other image is near one of them.
Copies as negatives occupy a part of the sphere, so that the normal images stay together.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from trainer.pretext.contrastive import ContrastiveTask

SYMMETRIES = 8
"""Number of symmetries of the square: ``s`` rotates by ``s // 2`` quarter turns, counter-clockwise, and then, if ``s``
is odd, mirrors left-right."""

_NAMED = {"rot": (0, 2, 4, 6), "hflip": (0, 1), "vflip": (0, 5)}


def symmetries(copies: str | int) -> tuple[int, ...]:
    """Return the symmetries of a value of ``pretext.copies``; the first is the identity."""
    return tuple(range(copies)) if isinstance(copies, int) else _NAMED[copies]


def transformed(images: Tensor, symmetry: Tensor) -> Tensor:
    """Rotate and mirror each image by its own symmetry.

    Args:
        images: square, ``[n, c, h, h]``, of any type.
        symmetry: of 0..7, int64 ``[n]``.
    """
    symmetry = symmetry.view(-1, 1, 1, 1)
    turns = symmetry // 2
    images = torch.where(turns % 2 == 1, images.rot90(1, (2, 3)), images)
    images = torch.where(turns >= 2, images.flip(2, 3), images)
    return torch.where(symmetry % 2 == 1, images.flip(3), images)


class DistributionAugmentedTask(ContrastiveTask):
    """Contrastive learning on the union of the images and their copies, which count as different images."""

    def draw(self, images: Tensor, batch: int, generator: Generator) -> Tensor:
        """Draw different pairs of an image and a symmetry, without making the union itself.

        The released code shuffles the union in each epoch; here each step draws from all of it, so that it depends on
        its own randomness alone.  See :meth:`trainer.pretext.task.Task.draw`.
        """
        kinds = torch.tensor(symmetries(self.pretext.copies), device=images.device)
        n = len(images)
        drawn = torch.randperm(n * len(kinds), generator=generator, device=images.device)[:batch]
        return transformed(images[drawn % n], kinds[drawn // n]).float() / 255

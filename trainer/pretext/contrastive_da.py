"""Contrastive learning with distribution augmentation: turned and mirrored copies of the images are images of their own
(two-stage paper, section 4).

Contrastive learning spreads normal images evenly over the sphere, where any other image lands near one of them.  Copies
that are told to be unlike take up some of the sphere, so that the normal images keep together.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from trainer.pretext.contrastive import ContrastiveTask

SYMMETRIES = 8
"""Of the square: symmetry ``s`` turns by ``s // 2`` quarters, counter-clockwise, and then, if ``s`` is odd, mirrors
left-right."""

_NAMED = {"rot": (0, 2, 4, 6), "hflip": (0, 1), "vflip": (0, 5)}


def symmetries(copies: str | int) -> tuple[int, ...]:
    """Which symmetries a value of ``pretext.copies`` stands for; the first is the identity."""
    return tuple(range(copies)) if isinstance(copies, int) else _NAMED[copies]


def transformed(images: Tensor, symmetry: Tensor) -> Tensor:
    """Turn and mirror each image by its own symmetry.

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
    """Contrastive learning on the union of the images and their copies, of which an image and its copy are two."""

    def draw(self, images: Tensor, batch: int, generator: Generator) -> Tensor:
        """Different pairs of an image and a symmetry, of all there are; the union itself is never made.

        The released code shuffles the union and goes through it, epoch after epoch; here each step draws from all of
        it, so that it depends on nothing but its own randomness.  See :meth:`trainer.pretext.task.Task.draw`.
        """
        kinds = torch.tensor(symmetries(self.pretext.copies), device=images.device)
        n = len(images)
        drawn = torch.randperm(n * len(kinds), generator=generator, device=images.device)[:batch]
        return transformed(images[drawn % n], kinds[drawn // n]).float() / 255

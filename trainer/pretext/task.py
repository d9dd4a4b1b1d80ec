"""What a self-supervised task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Figures:
    """What a training tells of itself beside the loss.

    Attributes:
        names: of each figure, at most four; all are shares of 1.
        axis: what they are shares of, in a word or two.
        text: a sentence or two on what is learnt and what the figures mean.
    """

    names: tuple[str, ...]
    axis: str
    text: str


def accuracies(names: tuple[str, ...], aim: str) -> Figures:
    """Of a task that tells classes apart: the accuracy of each.

    Args:
        names: of the classes, in the order of their labels.
        aim: what the encoder learns, to follow "learned to".
    """
    return Figures(
        names, "accuracy", f"The encoder learned to {aim}. Accuracy is that of each class, on training images."
    )


_CHANGES = {
    "cutpaste": ("patch",),
    "cutpaste-scar": ("scar",),
    "cutpaste-union": ("patch or scar",),
    "cutpaste-3way": ("patch", "scar"),
}


def normal_or_changed(name: str) -> Figures:
    """Of the task of this name, whose first class is of images as they are."""
    return accuracies(("normal", *_CHANGES.get(name, (name,))), "tell good images from changed ones")


class Task(ABC):
    """Labelled batches from normal images, and what is computed from an encoder's features to compare with the labels.

    Attributes:
        figures: what :meth:`count` counts.
    """

    figures: Figures

    @abstractmethod
    def classifier(self, scales: tuple[int, ...]) -> nn.Module:
        """From an encoder's features ``[m, sum(scales), rows, columns]`` to outputs that lie as the labels do.

        Raises:
            ValueError: the encoder has too few scales.
        """

    def draw(self, images: Tensor, batch: int, generator: Generator) -> Tensor:
        """What a step starts from: different images where there are enough, else any.

        Args:
            images: uint8 RGB ``[n, 3, h, w]``.
            batch: how many.
            generator: source of all randomness, on the images' device.

        Returns:
            float32 of 0..1, ``[batch, 3, h, w]``.
        """
        n = len(images)
        if n >= batch:
            chosen = torch.randperm(n, generator=generator, device=images.device)[:batch]
        else:
            chosen = torch.randint(n, (batch,), generator=generator, device=images.device)
        return images[chosen].float() / 255

    @abstractmethod
    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """From images ``[n, 3, h, w]`` of 0..1 to inputs ``[m, 3, h, w]`` and labels, int64 ``[m, rows, columns]``."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of a batch."""

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Figures of a batch as sums and numbers of what is summed, ``[figures, 2]``: by default, of each class, how
        many of it were told as such.
        """
        predicted = outputs.argmax(1)
        rows = []
        for label in range(len(self.figures.names)):
            chosen = labels == label
            rows.append(torch.stack([(chosen & (predicted == label)).sum(), chosen.sum()]))
        return torch.stack(rows)

    def check(self, recent: Sequence[Sequence[float]], batch: int) -> None:  # noqa: B027 - most tasks cannot collapse
        """Stop a training that came to nothing.

        Args:
            recent: some last rows of step, loss and figures, each averaged since the row before; the newest last.
            batch: images of a step.

        Raises:
            InputError: it did.
        """

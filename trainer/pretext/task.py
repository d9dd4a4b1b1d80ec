"""The base class of self-supervised tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Figures:
    """Description of the figures that a training reports besides the loss.

    Attributes:
        names: name of each figure, at most four; all are shares of 1.
        axis: name of the shares, in a word or two.
        text: one or two sentences about the task and the meaning of the figures.
    """

    names: tuple[str, ...]
    axis: str
    text: str


def accuracies(names: tuple[str, ...], aim: str) -> Figures:
    """Return the figures of a classification task: the accuracy of each class.

    Args:
        names: names of the classes, in the order of their labels.
        aim: aim of the task, to follow "learned to".
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
    """Return the figures of a task whose first class is of unchanged images."""
    return accuracies(("normal", *_CHANGES.get(name, (name,))), "tell good images from changed ones")


class Task(ABC):
    """A self-supervised task: labelled batches from normal images, a classifier and a loss.

    Attributes:
        figures: description of the results of :meth:`count`.
    """

    figures: Figures

    @abstractmethod
    def classifier(self, scales: tuple[int, ...]) -> nn.Module:
        """Return a module from features ``[m, sum(scales), rows, columns]`` to outputs on the grid of the labels.

        Raises:
            ValueError: the encoder has too few scales.
        """

    def draw(self, images: Tensor, batch: int, generator: Generator) -> Tensor:
        """Draw the images of a step: different ones if there are enough, else with repetition.

        Args:
            images: uint8 RGB ``[n, 3, h, w]``.
            batch: number of images to draw.
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
        """Make inputs ``[m, 3, h, w]`` and int64 labels ``[m, rows, columns]`` from images ``[n, 3, h, w]`` of 0..1."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of a batch."""

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the sum and the count of each figure of a batch, ``[figures, 2]``.

        By default, a figure is the number of correct predictions of a class.
        """
        predicted = outputs.argmax(1)
        rows = []
        for label in range(len(self.figures.names)):
            chosen = labels == label
            rows.append(torch.stack([(chosen & (predicted == label)).sum(), chosen.sum()]))
        return torch.stack(rows)

    def check(self, recent: Sequence[Sequence[float]], batch: int) -> None:  # noqa: B027 - most tasks cannot collapse
        """Stop a failed training.

        Args:
            recent: latest rows of step, loss and figures, each averaged since the row before; the newest last.
            batch: number of images in a step.

        Raises:
            InputError: the training has failed.
        """

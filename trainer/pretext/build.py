"""The task that the settings name."""

from __future__ import annotations

from typing import Protocol

from torch import Generator, Tensor, nn

from trainer.config import PretextConfig
from trainer.encoders.base import Encoder
from trainer.pretext.cutpaste import CutPasteTask
from trainer.pretext.whole import WholeImageTask


class Task(Protocol):
    """A self-supervised task: labelled batches from normal images, and the classifier that tells the labels apart.

    Attributes:
        classes: how many labels there are.
    """

    classes: int

    def classifier(self, scales: tuple[int, ...]) -> nn.Module:
        """From an encoder's features ``[m, sum(scales), rows, columns]`` to logits that lie as the labels do.

        Raises:
            ValueError: the encoder has too few scales.
        """

    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """From images ``[n, 3, h, w]`` of 0..1 to inputs ``[m, 3, h, w]`` and labels, int64 ``[m, rows, columns]``."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of a batch."""


def make_task(config: PretextConfig, encoder: Encoder) -> Task:
    """The task for an encoder."""
    if config.mode == "image":
        return WholeImageTask(config)
    return CutPasteTask(config, encoder.stride, encoder.window)

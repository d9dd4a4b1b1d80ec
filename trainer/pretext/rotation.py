"""Rotation prediction (two-stage paper; baseline of CutPaste), and anomaly scores of its classifier (RotNet)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from trainer.augment.views import mild_view, strong_view
from trainer.config import PretextConfig, ViewsConfig
from trainer.encoders.base import Encoder
from trainer.pretext.projection import ProjectionHead
from trainer.pretext.task import Task, accuracies

TURNS = 4


class RotationTask(Task):
    """Four copies of each image, augmented independently and then rotated by 0, 90, 180 or 270 degrees.

    A batch of 64 images gives 256 inputs (two-stage paper's code).  With strong views it is that paper's task; with the
    mild shift and jitter of whole images it is CutPaste's baseline, whose details the paper does not give.

    Args:
        pretext: projection head and mild augmentation.
        views: strong augmentation, if enabled.
    """

    figures = accuracies(
        ("upright", "turned by 90°", "180°", "270°"), "tell by how many quarter turns an image was turned"
    )

    def __init__(self, pretext: PretextConfig, views: ViewsConfig) -> None:
        self.pretext, self.views = pretext, views

    def classifier(self, scales: tuple[int, ...]) -> ProjectionHead:
        """Return projection head and classifier; see :meth:`trainer.pretext.task.Task.classifier`."""
        return ProjectionHead(sum(scales), self.pretext, TURNS)

    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augment and rotate.

        Args:
            images: float32 RGB in 0..1, square, ``[n, 3, h, h]``.
            generator: source of all randomness, on the images' device.

        Returns:
            Images ``[4 n, 3, h, h]``, ordered by rotation, and int64 labels ``[4 n, 1, 1]``: quarter turns.
        """
        copies = images.repeat(TURNS, 1, 1, 1)
        if self.views.enabled:
            copies = strong_view(copies, self.views, generator)
        else:
            # An image mirrored along both axes is one rotated by 180 degrees.
            copies = mild_view(copies, self.pretext, generator, vertical=False)
        turned = [copy.rot90(turns, (2, 3)) for turns, copy in enumerate(copies.chunk(TURNS))]
        labels = torch.arange(TURNS, device=images.device).repeat_interleave(len(images))
        return torch.cat(turned), labels.view(-1, 1, 1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy; every rotation has as many images."""
        return functional.cross_entropy(outputs, labels)


@dataclass(frozen=True)
class RotationScores:
    """Anomaly scores of the rotation classifier, without a one-class head (two-stage paper's code, dscore and logit).

    They are high for images whose rotation it does not recognise.

    Attributes:
        product: ``1 - p0(x) p1(x90) p2(x180) p3(x270)``, ``[n]``, where ``pk`` is the probability of ``k`` turns.
        upright: ``1 - p0(x)``, ``[n]``.
    """

    product: Tensor
    upright: Tensor


@torch.inference_mode()
def rotation_scores(encoder: Encoder, head: ProjectionHead, images: Tensor, batch: int = 256) -> RotationScores:
    """Score images by the trained classifier, without augmentation.

    Args:
        encoder: trained, in evaluation mode.
        head: trained with it, in evaluation mode; of :class:`RotationTask`.
        images: RGB of 0..255, square, ``[n, 3, h, h]``; the device is the encoder's.
        batch: images at a time.

    Returns:
        float64 on the CPU.
    """
    logs: list[Tensor] = []
    for chunk in torch.split(images, batch):
        pixels = encoder.normalise(chunk.float())
        logits = [head(encoder(pixels.rot90(turns, (2, 3)))) for turns in range(TURNS)]
        logs.append(torch.stack([of_turn.flatten(1).double().log_softmax(1) for of_turn in logits], 1).cpu())
    right = torch.cat(logs).diagonal(dim1=1, dim2=2)
    # expm1 keeps small scores of images with probabilities near 1 apart.
    return RotationScores(-torch.expm1(right.sum(1)), -torch.expm1(right[:, 0]))

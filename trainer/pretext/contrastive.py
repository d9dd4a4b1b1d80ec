"""Contrastive learning: among many images, find the one that another view shows (two-stage paper, SimCLR)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

from edge_occ.common.errors import InputError
from trainer.augment.views import strong_view
from trainer.config import PretextConfig, ViewsConfig
from trainer.pretext.projection import ProjectionHead
from trainer.pretext.task import Figures, Task


class ContrastiveTask(Task):
    """Two views of each image, whose embeddings become similar to each other and dissimilar to other images'.

    Args:
        pretext: projection head, temperature, and the form of the loss.
        views: settings of the views.
    """

    figures = Figures(
        ("own view most similar", "spread of embeddings"),
        "share",
        "The encoder learned to find, among views of many images, the one of the same image. Shown are the share of "
        "training images for which it did, and the spread of the embeddings: 1 if they point in all directions "
        "equally, 0 if all point in one.",
    )

    def __init__(self, pretext: PretextConfig, views: ViewsConfig) -> None:
        self.pretext, self.views = pretext, views

    def classifier(self, scales: tuple[int, ...]) -> ProjectionHead:
        """Return the projection head, which outputs embeddings; see :meth:`trainer.pretext.task.Task.classifier`."""
        return ProjectionHead(sum(scales), self.pretext, 0)

    def draw(self, images: Tensor, batch: int, generator: Generator) -> Tensor:
        """Draw different images, all of them if they are fewer than a batch: a duplicate would be its own negative.

        See :meth:`trainer.pretext.task.Task.draw`.
        """
        return super().draw(images, min(batch, len(images)), generator)

    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Make two views.

        Args:
            images: float32 RGB in 0..1, square, ``[n, 3, h, h]``.
            generator: source of all randomness, on the images' device.

        Returns:
            Views ``[2 n, 3, h, h]``, second ones after first ones, and the image of each, int64 ``[2 n, 1, 1]``.
        """
        views = strong_view(images.repeat(2, 1, 1, 1), self.views, generator)
        return views, torch.arange(len(images), device=images.device).repeat(2).view(-1, 1, 1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of finding the other view of the same image, by cosine similarity over temperature.

        As in the two-stage paper's code, each first view is compared with all second views (``n - 1`` negatives);
        symmetric, each view with all others (``2 n - 2`` negatives; NT-Xent; SimCLR, equation 1).
        """
        del labels
        similarity, own = self._similarity(outputs)
        return functional.cross_entropy(similarity / self.pretext.temperature, own)

    def count(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Count the views that are most similar to the other view of their image, and compute ``1 - |mean|^2`` of the
        unit embeddings, which is their variance summed over the dimensions.
        """
        del labels
        similarity, own = self._similarity(outputs)
        found = (similarity.argmax(1) == own).sum()
        spread = 1 - functional.normalize(outputs.flatten(1)).mean(0).square().sum()
        counts = torch.stack([found, spread, spread.new_tensor(len(own)), torch.ones_like(spread)])
        return counts.view(2, 2).transpose(0, 1)

    def check(self, recent: Sequence[Sequence[float]], batch: int) -> None:
        """Stop a collapsed training: the loss is not below that of guessing, or the embeddings nearly coincide.

        An issue of the two-stage paper's code reports such runs, at AUROC 0.5.

        Raises:
            InputError: collapsed; see :meth:`trainer.pretext.task.Task.check`.
        """
        guessing = math.log(2 * batch - 1 if self.pretext.symmetric else batch)
        loss, _, spread = (sum(row[i] for row in recent) / len(recent) for i in (1, 2, 3))
        if loss < BELOW * guessing and spread > MIN_SPREAD:  # false for NaN, too
            return
        raise InputError(
            f"a contrastive loss below {BELOW * guessing:.3f} (guessing has {guessing:.3f}) and a spread of the "
            f"embeddings above {MIN_SPREAD}",
            f"a loss of {loss:.3f} and a spread of {spread:.2g} at step {recent[-1][0]:.0f}: training has collapsed",
            "start over with a lower rate, --restart --set optimiser.learning_rate=0.003; or, for images that all look "
            "alike, with weaker views, --restart --set views.crop=0.9 --set views.hue=0.02 --set views.grey=0",
        )

    def _similarity(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosine similarities ``[m, c]``, and the column of each row's positive, ``[m]``."""
        embeddings = functional.normalize(outputs.flatten(1))
        n = len(embeddings) // 2
        columns = torch.arange(n, device=outputs.device)
        if not self.pretext.symmetric:
            first, second = torch.split(embeddings, n)
            return first @ second.T, columns
        itself = torch.eye(2 * n, dtype=torch.bool, device=outputs.device)
        return (embeddings @ embeddings.T).masked_fill(itself, -torch.inf), torch.cat([columns + n, columns])


BELOW = 0.99
"""Share of the loss of guessing that a training must stay below; collapsed ones are within 0.1 % of that loss."""

MIN_SPREAD = 0.01
"""Minimum spread of unit embeddings; good trainings fall to 0.13 in their first hundred steps, and rise above 0.5
afterwards."""

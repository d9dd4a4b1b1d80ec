"""CutPaste as a window classification task: normal, pasted or scarred (CutPaste, sections 2.2 to 2.4).

Dense mode pastes into whole images and labels every 64x64 window by what it holds, so that one forward pass of the
dense encoder trains on hundreds of windows.  Crops mode is the paper's: random 64x64 crops, one paste or none in each.
"""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from trainer.augment import colour_jitter, random_flip, random_shift
from trainer.config import PretextConfig
from trainer.encoders import WINDOW
from trainer.paste import Pastes, paste, sample_cutpaste, sample_scar

IGNORE = -1
"""Label of windows that are neither clearly normal nor clearly pasted."""

_CUTPASTE, _SCAR = 0, 1
_CLASSES = {
    "cutpaste": {_CUTPASTE: 1},
    "cutpaste-scar": {_SCAR: 1},
    "cutpaste-union": {_CUTPASTE: 1, _SCAR: 1},
    "cutpaste-3way": {_CUTPASTE: 1, _SCAR: 2},
}


class CutPasteTask:
    """Makes labelled batches from normal images, and the classifier that tells the labels apart.

    Args:
        config: sizes, strengths and the form of the task.
        stride: grid stride of the encoder in pixels.
    """

    def __init__(self, config: PretextConfig, stride: int) -> None:
        self.config, self.stride = config, stride
        self._classes = _CLASSES[config.name]
        self.classes = 1 + max(self._classes.values())

    def classifier(self, dim: int) -> nn.Module:
        """The shallow projection head and linear classifier, as 1x1 convolutions over the window features."""
        hidden = max(dim // 2, 16)
        return nn.Sequential(
            nn.Conv2d(dim, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU(), nn.Conv2d(hidden, self.classes, 1)
        )

    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augment, paste and label.

        Args:
            images: float32 RGB in 0..1, ``[n, 3, h, w]``.
            generator: source of all randomness, on the images' device.

        Returns:
            Images ``[m, 3, h, w]`` (dense: m = n) or ``[m, 3, 64, 64]`` (crops: m = n times the classes), and int64
            labels ``[m, rows, columns]`` with :data:`IGNORE` where a window does not count.
        """
        images = random_flip(images, generator, self.config.flips, self.config.flips)
        images = random_shift(images, self.config.shift, generator)
        images = colour_jitter(images, self.config.image_jitter, generator, hue=False)
        return self._crops(images, generator) if self.config.mode == "crops" else self._dense(images, generator)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over the windows that count; a paste weighs twice a normal window, as normal ones abound."""
        weight = logits.new_full((self.classes,), 1.0 if self.config.mode == "crops" else 2.0)
        weight[0] = 1.0
        return functional.cross_entropy(logits, labels, weight, ignore_index=IGNORE)

    def _dense(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        n, device = len(images), images.device
        kinds = self._kinds(n, generator)
        low, high = self.config.pastes
        counts = torch.randint(low, high + 1, (n,), generator=generator, device=device)
        pasted = images
        covered = torch.zeros_like(images[:, :1], dtype=torch.bool)
        patches = colour_jitter(images, self.config.patch_jitter, generator)
        for k in range(high):
            result, mask = paste(pasted, patches, self._rectangles(kinds, images, generator))
            active = (counts > k).view(n, 1, 1, 1)
            pasted = torch.where(active, result, pasted)
            covered |= mask & active
        return pasted, self.label_windows(images, pasted, covered, self._class_of(kinds))

    def label_windows(self, before: Tensor, after: Tensor, covered: Tensor, classes: Tensor) -> Tensor:
        """Label each window by the pasted and the visibly changed pixels it holds.

        Args:
            before: images without pastes, ``[n, 3, h, w]``.
            after: the same with pastes.
            covered: pasted pixels, bool ``[n, 1, h, w]``.
            classes: class of the pastes of each image, int64 ``[n]``.

        Returns:
            int64 ``[n, rows, columns]``: 0 where no pixel is pasted, the class where enough pixels changed and the
            window is not all patch, else :data:`IGNORE`.
        """
        changed = covered & ((after - before).abs().mean(1, keepdim=True) > self.config.visible)
        area = WINDOW * WINDOW

        def per_window(mask: Tensor) -> Tensor:
            return (functional.avg_pool2d(mask.float(), WINDOW, self.stride) * area).round().squeeze(1)

        pasted, visible = per_window(covered), per_window(changed)
        positive = (visible >= self.config.least_pixels) & (pasted <= self.config.most_covered * area)
        labels = torch.full_like(pasted, IGNORE, dtype=torch.int64)
        labels = torch.where(positive, classes.view(-1, 1, 1), labels)
        return labels.masked_fill(pasted == 0, 0)

    def _crops(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        n, device = len(images), images.device
        crops = random_crops(images, WINDOW, generator)
        patches = colour_jitter(crops, self.config.patch_jitter, generator)
        inputs, labels = [crops], [torch.zeros(n, dtype=torch.int64, device=device)]
        # The union has one class for both kinds, so one paste of either kind an image; the 3-way has one of each.
        rounds = 1 if self.classes == 2 else len(self._classes)
        for k in range(rounds):
            kinds = self._kinds(n, generator) if rounds == 1 else torch.full((n,), k, device=device)
            inputs.append(paste(crops, patches, self._rectangles(kinds, crops, generator))[0])
            labels.append(self._class_of(kinds))
        return torch.cat(inputs), torch.cat(labels).view(-1, 1, 1)

    def _kinds(self, n: int, generator: Generator) -> Tensor:
        choices = torch.tensor(sorted(self._classes), device=generator.device)
        return choices[torch.randint(len(choices), (n,), generator=generator, device=generator.device)]

    def _class_of(self, kinds: Tensor) -> Tensor:
        table = torch.tensor([self._classes.get(_CUTPASTE, 0), self._classes.get(_SCAR, 0)], device=kinds.device)
        return table[kinds]

    def _rectangles(self, kinds: Tensor, images: Tensor, generator: Generator) -> Pastes:
        n, size = len(images), (images.shape[2], images.shape[3])
        config = self.config
        rectangles = sample_cutpaste(n, size, config.area, config.aspect, generator)
        scars = sample_scar(n, size, config.scar_width, config.scar_length, config.scar_angle, generator)
        is_scar = kinds == _SCAR
        return Pastes(
            **{
                field.name: torch.where(is_scar, getattr(scars, field.name), getattr(rectangles, field.name))
                for field in fields(Pastes)
            }
        )


def random_crops(images: Tensor, side: int, generator: Generator) -> Tensor:
    """One random square crop of ``side`` pixels from each image: ``[n, 3, side, side]``."""
    n, _, height, width = images.shape
    device = images.device

    def indices(limit: int) -> Tensor:
        start = torch.randint(0, limit - side + 1, (n, 1), generator=generator, device=device)
        return start + torch.arange(side, device=device)

    rows, columns = indices(height), indices(width)
    batch = torch.arange(n, device=device).view(n, 1, 1)
    return images.permute(0, 2, 3, 1)[batch, rows.unsqueeze(2), columns.unsqueeze(1)].permute(0, 3, 1, 2)

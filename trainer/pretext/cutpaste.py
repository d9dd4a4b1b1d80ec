"""CutPaste as a window classification task: normal, pasted or scarred (CutPaste, sections 2.2 to 2.4).

Dense mode pastes into whole images and labels every window by its pasted pixels, so that one forward pass of the dense
encoder trains on hundreds of windows.  Crops mode is the paper's: random crops, at most one paste in each, one label.
The paper's network averages its features over a crop, so crops may be larger than the windows that are scored later:
the paper trains on 64x64 pixels (section 4.2) and extracts features of 32x32 (A.5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from trainer.augment.paste import (
    Pastes,
    cut,
    extent_of_cutpaste,
    extent_of_scar,
    footprint,
    lay,
    sample_cutpaste,
    sample_scar,
    select,
)
from trainer.augment.poisson import poisson_blend
from trainer.augment.transforms import colour_jitter, luma, random_flip, random_shift, take, uniform
from trainer.config import PretextConfig
from trainer.encoders.dense import WINDOW
from trainer.pretext.task import Task, normal_or_changed
from trainer.pretext.windows import IGNORE, WindowClassifier, label_windows

_CUTPASTE, _SCAR = 0, 1
_CLASSES = {
    "cutpaste": {_CUTPASTE: 1},
    "cutpaste-scar": {_SCAR: 1},
    "cutpaste-union": {_CUTPASTE: 1, _SCAR: 1},
    "cutpaste-3way": {_CUTPASTE: 1, _SCAR: 2},
}


class CutPasteTask(Task):
    """Classification of windows or crops into normal, pasted and scarred.

    Args:
        config: sizes, strengths and the form of the task.
        stride: grid stride of the encoder in pixels.
        window: side of the encoder's windows in pixels.

    Attributes:
        classes: number of labels.

    Raises:
        ValueError: a crop is smaller than a window.
    """

    def __init__(self, config: PretextConfig, stride: int, window: int = WINDOW) -> None:
        if config.mode == "crops" and config.crop < window:
            raise ValueError(f"pretext.crop={config.crop} is smaller than the encoder's window of {window} pixels")
        self.config, self.stride, self.window = config, stride, window
        self._classes = _CLASSES[config.name]
        self.classes = 1 + max(self._classes.values())
        self.figures = normal_or_changed(config.name)

    def classifier(self, scales: tuple[int, ...]) -> nn.Module:
        """Return the shallow projection heads and linear classifiers, from the encoder's features to logits.

        Args:
            scales: channels of each scale of the encoder's features; those beyond ``config.scales`` are not used.

        Raises:
            ValueError: the encoder has fewer than ``config.scales`` scales.
        """
        if len(scales) < self.config.scales:
            raise ValueError(f"pretext.scales={self.config.scales} needs as many scales of features, not {len(scales)}")
        return WindowClassifier(scales, self.config.scales, self.classes, pooled=self.config.mode == "crops")

    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augment, paste and label.

        Args:
            images: float32 RGB in 0..1, ``[n, 3, h, w]``.
            generator: source of all randomness, on the images' device.

        Returns:
            Images ``[m, 3, h, w]`` (dense: m = n) or ``[m, 3, crop, crop]`` (crops: m = n times the classes), and int64
            labels: of every window, ``[m, rows, columns]``, as :func:`trainer.pretext.windows.label_windows` gives them
            (with two scales ``[2 m, rows, columns]``); of every crop, ``[m, 1, 1]``.
        """
        config = self.config
        images = random_flip(images, generator, config.flips, config.flips)
        images = random_shift(images, config.shift, generator)
        images = colour_jitter(images, config.image_jitter, generator, hue=False)
        return self._crops(images, generator) if config.mode == "crops" else self._dense(images, generator)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy, averaged over the labelled windows of each scale and summed over the scales.

        In whole images a paste has twice the weight of a normal window, because most windows are normal.
        """
        scales = zip(outputs.chunk(self.config.scales), labels.chunk(self.config.scales), strict=True)
        losses = [
            functional.cross_entropy(values, wanted, self._weights(values), ignore_index=IGNORE)
            for values, wanted in scales
        ]
        return torch.stack(losses).sum()

    def _weights(self, logits: Tensor) -> Tensor:
        """Return the weight of each class."""
        weights = logits.new_ones(self.classes)
        if self.config.mode == "dense":
            weights[1:] = 2
        return weights

    def _dense(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        low, high = self.config.pastes
        counts = torch.randint(low, high + 1, (len(images),), generator=generator, device=images.device)
        clean = self._clean(images)
        pasted, classes = images.clone(), torch.zeros_like(images[:, :1], dtype=torch.uint8)
        kinds = self._kinds(len(images), generator)
        for k in range(high):
            self._add(pasted, classes, clean, kinds, counts > k, generator)
        return pasted, label_windows(images, pasted, classes, self.classes - 1, self.config, self.stride, self.window)

    def _crops(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        n, device = len(images), images.device
        crops = random_crops(images, self.config.crop, generator)
        clean = self._clean(crops)
        inputs, labels = [crops], [torch.zeros(n, dtype=torch.int64, device=device)]
        # The union has one class for both kinds, so one paste of either kind an image; the 3-way has one of each.
        rounds = 1 if self.classes == 2 else len(self._classes)
        for k in range(rounds):
            kinds = self._kinds(n, generator) if rounds == 1 else torch.full((n,), k, device=device)
            pasted, classes = crops.clone(), torch.zeros_like(crops[:, :1], dtype=torch.uint8)
            self._add(pasted, classes, clean, kinds, torch.ones_like(kinds, dtype=torch.bool), generator)
            inputs.append(pasted)
            labels.append(self._class_of(kinds))
        return torch.cat(inputs), torch.cat(labels).view(-1, 1, 1)

    def _clean(self, images: Tensor) -> _Clean:
        sources = images.roll(1, 0) if self.config.source == "other" else images
        return _Clean(sources, luma(sources).mean((1, 2, 3)))

    def _add(
        self, pasted: Tensor, classes: Tensor, clean: _Clean, kinds: Tensor, active: Tensor, generator: Generator
    ) -> None:
        """Paste once into each active image, and write the class into ``classes``, both in place."""
        config, size = self.config, (pasted.shape[2], pasted.shape[3])
        pastes = self._rectangles(kinds, size, generator)
        labels = self._class_of(kinds).view(-1, 1, 1, 1).to(classes.dtype)
        if config.poisson:
            seamless = active & (kinds == _CUTPASTE) & (uniform((len(kinds),), 0, 1, generator) < config.poisson)
            blended, mask = poisson_blend(pasted, clean.sources, replace(pastes, angle=torch.zeros_like(pastes.angle)))
            mask &= seamless.view(-1, 1, 1, 1)
            pasted.copy_(torch.where(mask, blended, pasted))
            classes.copy_(torch.where(mask, labels, classes))
            active = active & ~seamless
        where = footprint(pastes, size, self._extent(size))
        where = replace(where, inside=where.inside & active.view(-1, 1, 1))
        boxes = colour_jitter(cut(clean.sources, where.source), config.patch_jitter, generator, mean=clean.grey)
        if config.scar_blend != (1, 1):
            opacity = torch.where(kinds == _SCAR, uniform((len(kinds),), *config.scar_blend, generator), 1.0)
            boxes = torch.lerp(cut(pasted, where.target), boxes, opacity.view(-1, 1, 1, 1))
        lay(pasted, where, boxes)
        lay(classes, where, labels.expand(-1, -1, *where.inside.shape[1:]))

    def _kinds(self, n: int, generator: Generator) -> Tensor:
        choices = torch.tensor(sorted(self._classes), device=generator.device)
        return choices[torch.randint(len(choices), (n,), generator=generator, device=generator.device)]

    def _class_of(self, kinds: Tensor) -> Tensor:
        table = torch.tensor([self._classes.get(_CUTPASTE, 0), self._classes.get(_SCAR, 0)], device=kinds.device)
        return table[kinds]

    def _extent(self, size: tuple[int, int]) -> int:
        config = self.config
        extents = {
            _CUTPASTE: extent_of_cutpaste(size, config.area, config.aspect),
            _SCAR: extent_of_scar(config.scar_width, config.scar_length),
        }
        return max(extents[kind] for kind in self._classes)

    def _rectangles(self, kinds: Tensor, size: tuple[int, int], generator: Generator) -> Pastes:
        config = self.config
        rectangles = sample_cutpaste(len(kinds), size, config.area, config.aspect, generator)
        scars = sample_scar(len(kinds), size, config.scar_width, config.scar_length, config.scar_angle, generator)
        return select(kinds == _SCAR, scars, rectangles)


@dataclass(frozen=True)
class _Clean:
    """Images without pastes.

    Attributes:
        sources: images that patches are cut from, ``[n, 3, h, w]``.
        grey: mean grey values of the sources, ``[n]``, about which the contrast of a patch is changed.
    """

    sources: Tensor
    grey: Tensor


def random_crops(images: Tensor, side: int, generator: Generator) -> Tensor:
    """Cut one random square of ``side`` pixels from each image: ``[n, 3, side, side]``."""
    n, _, height, width = images.shape

    def indices(limit: int) -> Tensor:
        start = torch.randint(0, limit - side + 1, (n, 1), generator=generator, device=images.device)
        return start + torch.arange(side, device=images.device)

    rows = indices(height)
    return take(images, rows, indices(width))

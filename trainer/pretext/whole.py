"""Classification of whole images into normal and changed ones: CutPaste's image-level model, and the baselines of its
tables 1, 4 and 5 except rotation.

Each source image gives one input of each class: itself, and a copy for each of the task's transformations (CutPaste,
equation 1).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from trainer.augment.occlusion import confetti, cover, random_colours
from trainer.augment.paste import Pastes, paste, sample_cutpaste, sample_scar
from trainer.augment.transforms import colour_jitter, uniform
from trainer.augment.views import mild_view
from trainer.config import PretextConfig
from trainer.pretext.projection import ProjectionHead
from trainer.pretext.task import Task, normal_or_changed

Transformation = Callable[[Tensor, PretextConfig, Generator], Tensor]
"""From images ``[n, 3, h, w]`` in 0..1, settings and a generator to images of the same shape."""


def _rectangles(images: Tensor, config: PretextConfig, generator: Generator) -> Pastes:
    size = (images.shape[2], images.shape[3])
    return sample_cutpaste(len(images), size, config.area, config.aspect, generator)


def _scars(images: Tensor, config: PretextConfig, generator: Generator) -> Pastes:
    size = (images.shape[2], images.shape[3])
    width, length = config.scar_width, config.scar_length
    return sample_scar(len(images), size, width, length, config.scar_angle, generator)


def _cutpaste(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    patches = colour_jitter(images, config.patch_jitter, generator)
    return paste(images, patches, _rectangles(images, config, generator))[0]


def _scar(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    patches = colour_jitter(images, config.patch_jitter, generator)
    return paste(images, patches, _scars(images, config, generator))[0]


def _either(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    chosen = uniform((len(images), 1, 1, 1), 0, 1, generator) < 0.5
    return torch.where(chosen, _cutpaste(images, config, generator), _scar(images, config, generator))


def _cutout(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    return cover(images, images.new_full((len(images), 3), 0.5), _rectangles(images, config, generator))


def _cutout_mean(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    return cover(images, images.mean((2, 3)), _rectangles(images, config, generator))


def _cutout_colour(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    return cover(images, random_colours(len(images), generator), _rectangles(images, config, generator))


def _colour_scar(images: Tensor, config: PretextConfig, generator: Generator) -> Tensor:
    return cover(images, random_colours(len(images), generator), _scars(images, config, generator))


def _confetti(images: Tensor, _: PretextConfig, generator: Generator) -> Tensor:
    return confetti(images, generator)


_TRANSFORMATIONS: dict[str, tuple[Transformation, ...]] = {
    "cutpaste": (_cutpaste,),
    "cutpaste-scar": (_scar,),
    "cutpaste-union": (_either,),
    "cutpaste-3way": (_cutpaste, _scar),
    "cutout": (_cutout,),
    "cutout-mean": (_cutout_mean,),
    "cutout-colour": (_cutout_colour,),
    "colour-scar": (_colour_scar,),
    "confetti": (_confetti,),
}


class WholeImageTask(Task):
    """Classification of whole images into normal and changed ones.

    Rectangles of one colour have the geometry of the patches and scars that they are baselines of.  The "mean pixel"
    of ``cutout-mean`` is the mean colour of the image itself.

    Args:
        config: sizes, strengths and the form of the task; its mode and settings of windows are not used.
    """

    def __init__(self, config: PretextConfig) -> None:
        self.config = config
        self._transformations = _TRANSFORMATIONS[config.name]
        self.classes = 1 + len(self._transformations)
        self.figures = normal_or_changed(config.name)

    def classifier(self, scales: tuple[int, ...]) -> ProjectionHead:
        """Return projection head and classifier; see :meth:`trainer.pretext.task.Task.classifier`."""
        return ProjectionHead(sum(scales), self.config, self.classes)

    def batch(self, images: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Augment, transform and label.

        Args:
            images: float32 RGB in 0..1, ``[n, 3, h, w]``.
            generator: source of all randomness, on the images' device.

        Returns:
            Images ``[n * classes, 3, h, w]``, ordered by class, and int64 labels
            ``[n * classes, 1, 1]``; class 0 is normal.
        """
        images = mild_view(images, self.config, generator)
        inputs = [images, *(transform(images, self.config, generator) for transform in self._transformations)]
        labels = torch.arange(self.classes, device=images.device).repeat_interleave(len(images))
        return torch.cat(inputs), labels.view(-1, 1, 1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy; every class has as many images."""
        return functional.cross_entropy(outputs, labels)

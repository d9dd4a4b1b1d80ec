"""Views of whole images: the strong augmentation of the two-stage paper, and the mild one of CutPaste's image model.

The strong set is that of the released code: crop and resize, mirror, jitter, grey, in this order.  Its jitter is not
:func:`trainer.augment.transforms.colour_jitter`, which has torchvision's scales: brightness is added here, not
multiplied; contrast stretches each channel about its own mean, not about the mean grey value; saturation is that of
HSV, not the difference to the grey value; nothing is clipped, so that colours may leave 0..1.

Every function takes square images ``[n, 3, h, h]`` (float32, RGB, 0 to 1) on any device, draws parameters for each
image from the generator, and returns new images of the same shape.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional

from trainer.augment.transforms import adjust_hue, colour_jitter, luma, random_flip, random_shift, uniform
from trainer.config import PretextConfig, ViewsConfig

BLUR_SIGMA = (0.1, 2.0)
BLUR_SHARE = 10
"""Range of the blur's sigma in pixels, and ratio of the image's side to the kernel's (SimCLR, appendix A; the
two-stage paper's code calls its function)."""


def strong_view(images: Tensor, config: ViewsConfig, generator: Generator) -> Tensor:
    """Make one strong view of each image.

    Raises:
        ValueError: the images are not square.
    """
    images = crop_and_resize(images, config.crop, generator, config.flip)
    images = jitter(images, config, generator)
    images = random_grey(images, config.grey, generator)
    return random_blur(images, config.blur, generator)


def mild_view(images: Tensor, config: PretextConfig, generator: Generator, vertical: bool = True) -> Tensor:
    """Mirror, translate and jitter each image a little (CutPaste, A.1); of any shape.

    Args:
        images: ``[n, 3, h, w]``.
        config: flips, shift and image_jitter.
        generator: source of all randomness.
        vertical: whether to flip along both axes, or left-right alone.
    """
    images = random_flip(images, generator, config.flips, config.flips and vertical)
    images = random_shift(images, config.shift, generator)
    return colour_jitter(images, config.image_jitter, generator, hue=False)


def crop_and_resize(images: Tensor, min_side: float, generator: Generator, flip: bool = False) -> Tensor:
    """Cut a random square out of each image and resize it to the image's size, bilinearly.

    The square's side is a uniform random integer from ``floor(min_side h)`` to ``h``; every place inside the image is
    equally likely.  Pixels are centred on halves, and pixels outside the square are not used.

    Args:
        images: ``[n, 3, h, h]``.
        min_side: smallest side, as a share of the image's.
        generator: source of all randomness.
        flip: mirror the crop left-right with probability 1/2.
    """
    n, _, size, width = images.shape
    if width != size:
        raise ValueError(f"views are made of square images, not of {size} x {width} pixels")
    device = generator.device
    draws = torch.rand(4, n, 1, generator=generator, device=device)
    low = max(1, int(min_side * size))
    side = low + (draws[0] * (size - low + 1)).floor()
    within = torch.arange(size, device=device) + 0.5
    # Position of each pixel of the result in the crop; at the edges a crop repeats its own last pixels.
    rows = (within * side / size - 0.5).clamp_min(0).minimum(side - 1)
    columns = torch.where(draws[3] < 0.5, rows.flip(1), rows) if flip else rows
    first_row, first_column = (draws[1:3] * (size - side + 1)).floor()
    scale = 2 / max(1, size - 1)
    y = ((rows + first_row) * scale - 1).unsqueeze(2).expand(n, size, size)
    x = ((columns + first_column) * scale - 1).unsqueeze(1).expand(n, size, size)
    return functional.grid_sample(images, torch.stack([x, y], 3), padding_mode="border", align_corners=True)


def jitter(images: Tensor, config: ViewsConfig, generator: Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of each image, always all four and in this order.

    The released code shuffles the order once, when its graph is traced, so that it is fixed within a run; this is the
    order in which it lists them.  With ``b, c, s, h`` drawn uniformly from ``+-brightness``, ``1 +- contrast``,
    ``1 +- saturation`` and ``+-hue``: ``b`` is added; the differences to each channel's mean are multiplied by ``c``;
    the HSV saturation by ``s``, to at most 1; the HSV hue is turned by ``h`` of the circle.  Nothing else is clipped.
    """
    n, device = len(images), generator.device
    added, contrast, saturation, turn = 2 * torch.rand(4, n, 1, 1, 1, generator=generator, device=device) - 1
    contrast, saturation = 1 + contrast * config.contrast, 1 + saturation * config.saturation
    mean = images.mean((2, 3), keepdim=True)
    images = torch.addcmul(mean * (1 - contrast) + added * config.brightness, images, contrast)
    if config.saturation == config.hue == 0:
        return images
    return adjust_hue(images, (turn * config.hue).flatten(), saturation.flatten())


def random_grey(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Replace all colours of an image by their grey values, with a probability of 0 to 1."""
    chosen = uniform((len(images), 1, 1, 1), 0, 1, generator) < probability
    return torch.where(chosen, luma(images), images)


def random_blur(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """Blur each image by a Gaussian of random sigma, with a probability of 0 to 1.

    The kernel is SimCLR's, with an odd side of about a tenth of the image's.  At the border the weights inside the
    image are normalised, where SimCLR's edges darken.
    """
    if probability == 0:
        return images
    n, size, device = len(images), images.shape[2], generator.device
    sigma = uniform((n, 1, 1), *BLUR_SIGMA, generator)
    chosen = uniform((n, 1, 1), 0, 1, generator) < probability
    position = torch.arange(size, device=device)
    distance = (position.unsqueeze(0) - position.unsqueeze(1)).unsqueeze(0)
    weights = torch.exp(-distance.square() / (2 * sigma.square())) * (distance.abs() <= size // BLUR_SHARE // 2)
    weights = torch.where(chosen, weights / weights.sum(2, keepdim=True), (distance == 0).float()).unsqueeze(1)
    return weights @ images @ weights.transpose(2, 3)

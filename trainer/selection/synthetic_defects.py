"""Generators of synthetic defects for model selection, which training never uses.

Each normal image gets one defect.  ``shapes`` and ``shapes-texture`` follow CutPaste (table 6), ``perlin`` DRAEM
(Zavrtanik et al., 2021, section 3.3), ``poisson`` NSA (Schlüter et al., 2022, section 3); ``scratch`` and ``smudge``
are common faults of production that no paste resembles.  Sizes and contrasts are log-uniform, so that most defects are
small and many are faint; otherwise every candidate would find them all.  Constants without a source are our own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor
from torch.nn import functional

from trainer.augment.paste import Pastes
from trainer.augment.poisson import poisson_blend
from trainer.augment.transforms import colour_jitter, uniform
from trainer.data.foreground import foreground
from trainer.selection.drawing import around, curve_distance, moved, perlin_noise, stencils

DefectGenerator = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
"""From images, other normal images (float ``[n, 3, h, w]``, 0 to 1) and a generator on their device, to the images with
one defect each and their visibly changed pixels, bool ``[n, 1, h, w]``."""

_Attempt = Callable[[Tensor, Tensor, Tensor, Generator], Tensor]
"""From images, others, the images' foreground and a generator to defective images."""

VISIBLE = 8 / 255
"""A pixel is visibly changed if the mean change of its channels (0 to 1) is larger than this."""

MIN_PIXELS = 12
"""Minimum number of visibly changed pixels on the part in a defect."""

ATTEMPTS = 10
"""Maximum number of attempts to make a visible defect; each repeats only the images that have none yet."""

AREA = (0.0005, 0.03)
"""Smallest and largest area of a defect before blending, as shares of the image."""


def visible_change(before: Tensor, after: Tensor) -> Tensor:
    """Return the pixels whose mean absolute change over the channels exceeds :data:`VISIBLE`, bool ``[n, 1, h, w]``."""
    return (after - before).abs().mean(1, keepdim=True) > VISIBLE


def _until_visible(attempt: _Attempt) -> DefectGenerator:
    """Repeat an attempt on images in which fewer than :data:`MIN_PIXELS` pixels of the part changed visibly.

    An image in which no attempt succeeds (too small, or as even as the others) keeps the one that changed most.
    """

    def generate(images: Tensor, others: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        part = foreground(images)
        defective = attempt(images, others, part, generator).clamp(0, 1)
        mask = visible_change(images, defective)
        for _ in range(ATTEMPTS - 1):
            counts = (mask & part).sum((1, 2, 3))
            faint = (counts < MIN_PIXELS).nonzero().flatten()
            if not len(faint):
                break
            again = attempt(images[faint], others[faint], part[faint], generator).clamp(0, 1)
            changed = visible_change(images[faint], again)
            better = (changed & part[faint]).sum((1, 2, 3)) > counts[faint]
            defective[faint[better]], mask[faint[better]] = again[better], changed[better]
        return defective, mask

    return generate


def _shapes(images: Tensor, _others: Tensor, part: Tensor, generator: Generator) -> Tensor:
    n = len(images)
    inside = _stencilled(images, _pick(part, generator), generator)
    colour = uniform((n, 3, 1, 1), 0, 1, generator)
    return torch.lerp(images, colour, inside * _log_uniform((n, 1, 1, 1), 0.1, 1, generator))


def _shapes_texture(images: Tensor, others: Tensor, part: Tensor, generator: Generator) -> Tensor:
    target = _pick(part, generator)
    inside = _stencilled(images, target, generator)
    texture = moved(others, _pick(foreground(others), generator), target, torch.ones_like(target))
    return torch.where(inside, texture, images)


def _perlin(images: Tensor, others: Tensor, part: Tensor, generator: Generator) -> Tensor:
    n, height, width = _size(images)
    target = _pick(part, generator)
    area = _areas(images, generator)
    radius = (area / math.pi).sqrt()
    cell = (radius * uniform((n,), 0.4, 1.5, generator)).clamp_min(2)
    noise = perlin_noise((n, height, width), cell, generator)
    # The highest pixels of a noisy hill make ragged patches about the centre, of the wanted area in total.
    v, u = around(images, target)
    hill = noise - (v.square() + u.square()) / (2 * radius.view(n, 1, 1)).square()
    highest = hill.flatten(1).topk(_max_pixels(height, width), dim=1).values
    level = highest.gather(1, area.long().unsqueeze(1) - 1)
    inside = hill.unsqueeze(1) >= level.view(n, 1, 1, 1)
    flip = torch.where(uniform((2, n), 0, 1, generator) < 0.5, -1.0, 1.0)
    texture = moved(others, _pick(foreground(others), generator), target, flip * _log_uniform((n,), 0.5, 2, generator))
    texture = colour_jitter(texture, 0.5, generator)
    return torch.lerp(images, texture, inside * uniform((n, 1, 1, 1), 0.3, 1, generator))


def _poisson(images: Tensor, others: Tensor, part: Tensor, generator: Generator) -> Tensor:
    n = len(images)
    target = _pick(part, generator)
    # Blending fades towards the edges: about half of a rectangle changes visibly.
    area, ratio = 2 * _areas(images, generator), _log_uniform((n,), 0.5, 2, generator)
    height, width = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    scale = uniform((n,), 0.7, 1.3, generator).expand(2, n)
    patches = moved(others, _pick(foreground(others), generator), target, scale)
    pastes = Pastes(height, width, torch.zeros_like(height), target[0], target[1], target[0], target[1])
    # NSA blends textures with mixed gradients, parts without.
    texture = part.all(dim=3, keepdim=True).all(dim=2, keepdim=True)
    mixed, plain = (poisson_blend(images, patches, pastes, mixed=mixed)[0] for mixed in (True, False))
    return torch.where(texture, mixed, plain)


def _scratch(images: Tensor, _others: Tensor, part: Tensor, generator: Generator) -> Tensor:
    n, height, width = _size(images)
    length = _log_uniform((n,), 0.06, 0.5, generator) * math.sqrt(height * width)
    angle = uniform((n,), 0, 2 * math.pi, generator)
    half = torch.stack([angle.sin(), angle.cos()]) * length / 2
    bend = torch.stack([angle.cos(), -angle.sin()]) * length * uniform((n,), -0.2, 0.2, generator)
    middle = _pick(part, generator)
    points = torch.stack([middle - half - bend, middle + bend, middle + half - bend])
    thickness = uniform((n, 1, 1), 1, 4, generator)
    stroke = (thickness / 2 + 0.5 - curve_distance(points, (height, width))).clamp(0, 1).unsqueeze(1) * part
    return images + stroke * _sign((n, 1, 1, 1), generator) * _log_uniform((n, 1, 1, 1), 0.05, 0.6, generator)


def _smudge(images: Tensor, _others: Tensor, part: Tensor, generator: Generator) -> Tensor:
    n, height, width = _size(images)
    v, u = around(images, _pick(part, generator), uniform((n,), 0, math.pi, generator))
    stretch = _log_uniform((n, 1, 1), 1, 3, generator)
    strength = _log_uniform((n, 1, 1, 1), 0.06, 0.3, generator)
    # A bell curve that is visible on an ellipse of the wanted area.
    square = (v.square() * stretch + u.square() / stretch) * math.pi / _areas(images, generator).view(n, 1, 1)
    bump = (VISIBLE / strength) ** square.unsqueeze(1) * part
    brightness = _sign((n, 1, 1, 1), generator).expand(n, 3, 1, 1)
    tint = uniform((n, 3, 1, 1), -1, 1, generator)
    tint = tint / tint.abs().mean(1, keepdim=True).clamp_min(1e-3)
    coarse = functional.avg_pool2d(images, 8, ceil_mode=True)
    blurred = functional.interpolate(coarse, (height, width), mode="bilinear")
    kind = torch.randint(3, (n, 1, 1, 1), generator=generator, device=images.device)
    change = torch.where(kind == 0, brightness, tint) * strength
    return images + bump * torch.where(kind == 2, blurred - images, change)


GENERATORS: Mapping[str, DefectGenerator] = {
    "shapes": _until_visible(_shapes),
    "shapes-texture": _until_visible(_shapes_texture),
    "perlin": _until_visible(_perlin),
    "poisson": _until_visible(_poisson),
    "scratch": _until_visible(_scratch),
    "smudge": _until_visible(_smudge),
}
"""``shapes``: a square, ellipse, heart or handwritten digit in one colour; the digits are scikit-learn's 8x8 ones
smoothed up, as MNIST would need a download.  ``shapes-texture``: the same filled from elsewhere in another image.
``perlin``: ragged patches of another image, mirrored, rescaled and strongly jittered in colour, half transparent.
``poisson``: a rescaled rectangle of another image without a seam.  ``scratch``: a thin curved stroke, darker or
lighter.  ``smudge``: soft local change of brightness or colour, or blur."""


def _size(images: Tensor) -> tuple[int, int, int]:
    return len(images), images.shape[2], images.shape[3]


def _log_uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    return uniform(shape, math.log(low), math.log(high), generator).exp()


def _sign(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.where(uniform(shape, 0, 1, generator) < 0.5, -1.0, 1.0)


def _max_pixels(height: int, width: int) -> int:
    return max(int(AREA[1] * height * width), 2 * MIN_PIXELS)


def _areas(images: Tensor, generator: Generator) -> Tensor:
    """Draw areas of defects in pixels, ``[n]``: at least twice :data:`MIN_PIXELS`, also in small images."""
    n, height, width = _size(images)
    lowest = max(AREA[0] * height * width, 2 * MIN_PIXELS)
    return _log_uniform((n,), lowest, _max_pixels(height, width), generator)


def _pick(mask: Tensor, generator: Generator) -> Tensor:
    """Draw the centre ``(y, x)`` of one true pixel of each image, all equally likely: float ``[2, n]``."""
    n, width = len(mask), mask.shape[3]
    rank = mask.flatten(1).cumsum(1)
    # Rounding up to the count itself would index past the image.
    chosen = torch.minimum((uniform((n, 1), 0, 1, generator) * rank[:, -1:]).long(), rank[:, -1:] - 1)
    index = torch.searchsorted(rank, chosen + 1).squeeze(1)
    return torch.stack([index // width, index % width]) + 0.5


def _stencilled(images: Tensor, centre: Tensor, generator: Generator) -> Tensor:
    """Draw one shape in each image, turned at random about its centre ``[2, n]``: bool ``[n, 1, h, w]``."""
    n, device = len(images), images.device
    bank = stencils().to(device)
    kind = torch.randint(4, (n,), generator=generator, device=device)
    digit = torch.randint(3, len(bank), (n,), generator=generator, device=device)
    chosen = torch.where(kind < 3, kind, digit)
    side = (_areas(images, generator) / bank.float().mean((1, 2))[chosen]).sqrt()
    v, u = around(images, centre, uniform((n,), 0, 2 * math.pi, generator))
    drawn = bank.shape[1]
    rows, columns = ((c / side.view(n, 1, 1) + 0.5) * drawn for c in (v, u))
    inside = (rows >= 0) & (rows < drawn) & (columns >= 0) & (columns < drawn)
    at = (c.long().clamp(0, drawn - 1) for c in (rows, columns))
    return (inside & bank[(chosen.view(n, 1, 1), *at)]).unsqueeze(1)

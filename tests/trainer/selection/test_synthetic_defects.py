"""Synthetic defects: visible, small, on the part, reproducible."""

import math

import pytest
import torch
from torch.nn import functional

from trainer.data.foreground import foreground
from trainer.selection.synthetic_defects import GENERATORS, MIN_PIXELS, VISIBLE

EACH = pytest.mark.parametrize("name", GENERATORS)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def parts(n, size=(96, 112), seed=0):
    """Blotchy discs on a light ground, each a little different."""
    y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    disc = (y - size[0] / 2) ** 2 + (x - size[1] / 2) ** 2 < (0.38 * size[0]) ** 2
    coarse = 0.1 + 0.6 * torch.rand(n, 3, 12, 12, generator=seeded(seed))
    return torch.where(disc, functional.interpolate(coarse, size, mode="bilinear"), torch.tensor(0.95))


def textures(n, size=(64, 80), seed=0):
    return 0.3 + 0.4 * torch.rand(n, 3, *size, generator=seeded(seed))


@EACH
@pytest.mark.parametrize("images", [parts, textures])
def test_every_image_gets_one_visible_defect(name, images):
    before, others = images(24), images(24, seed=1)
    copies = before.clone(), others.clone()
    after, mask = GENERATORS[name](before, others, seeded(3))
    assert torch.equal(before, copies[0])
    assert torch.equal(others, copies[1])
    assert after.shape == before.shape
    assert (mask.shape, mask.dtype) == ((24, 1, *before.shape[2:]), torch.bool)
    assert 0 <= after.min()
    assert after.max() <= 1
    assert torch.equal(mask, (after - before).abs().mean(1, keepdim=True) > VISIBLE)
    counts = mask.sum((1, 2, 3))
    assert counts.min() >= MIN_PIXELS
    assert counts.max() < 0.07 * mask[0].numel()


@EACH
def test_the_generator_decides_everything(name):
    images, others = parts(4), parts(4, seed=1)
    first, again, other = (GENERATORS[name](images, others, seeded(seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])


@EACH
def test_defects_lie_on_the_part(name):
    images = parts(40)
    part = foreground(images)
    _, mask = GENERATORS[name](images, parts(40, seed=1), seeded(7))
    assert not part.all((1, 2, 3)).any()
    assert (mask & part).sum((1, 2, 3)).min() >= MIN_PIXELS
    if name in {"scratch", "smudge"}:
        assert not (mask & ~part).any()


@EACH
def test_strength_and_size_vary(name):
    images = parts(60, (128, 128))
    after, mask = GENERATORS[name](images, parts(60, (128, 128), seed=1), seeded(8))
    area = mask.sum((1, 2, 3))
    change = ((after - images).abs().mean(1, keepdim=True) * mask).sum((1, 2, 3)) / area
    assert area.max() > 4 * area.min()
    assert change.max() > 1.5 * change.min()


def test_areas_are_log_uniform():
    n, size = 240, (112, 112)
    dark, light = torch.zeros(n, 3, *size), torch.ones(n, 3, *size)
    _, mask = GENERATORS["shapes-texture"](dark, light, seeded(9))
    # Those that the border of the image cuts would be too small.
    whole = mask.clone()
    whole[..., 1:-1, 1:-1] = False
    areas = mask.sum((1, 2, 3))[~whole.any(3).any(2).squeeze(1)].float()
    assert len(areas) > 150
    low, high = 24, 0.03 * size[0] * size[1]
    assert 0.75 * low < areas.min()
    assert areas.max() < 1.1 * high
    assert areas.median() == pytest.approx(math.sqrt(low * high), rel=0.25)


def test_an_attempt_without_visible_change_is_repeated():
    white = torch.ones(30, 3, 96, 96)
    _, mask = GENERATORS["scratch"](white, white, seeded(10))  # every second stroke is a lighter one
    assert mask.sum((1, 2, 3)).min() >= MIN_PIXELS


def test_an_invisible_defect_changes_nothing():
    grey = torch.full((3, 3, 64, 64), 0.5)
    after, mask = GENERATORS["shapes-texture"](grey, grey, seeded(11))
    assert not mask.any()
    torch.testing.assert_close(after, grey)


def test_an_image_smaller_than_a_defect_is_no_error():
    tiny = textures(2, (12, 10))
    for generate in GENERATORS.values():
        after, mask = generate(tiny, tiny.flip(0), seeded(12))
        assert after.shape == tiny.shape
        assert mask.shape == (2, 1, 12, 10)

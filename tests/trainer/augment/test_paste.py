"""Batched pastes against loops over pixels."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.augment.paste import (
    Pastes,
    cut,
    extent_of_cutpaste,
    extent_of_scar,
    footprint,
    lay,
    paste,
    sample_cutpaste,
    sample_scar,
    select,
)


def naive_paste(image, patch, height, width, angle, source, target):
    """Lay one rectangle, pixel by pixel; source and target are centres (y, x)."""
    result, mask = image.clone(), torch.zeros(1, *image.shape[1:], dtype=torch.bool)
    cos, sin = math.cos(angle), math.sin(angle)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            dy, dx = y + 0.5 - target[0], x + 0.5 - target[1]
            v, u = cos * dy + sin * dx, cos * dx - sin * dy
            if abs(v) < height / 2 and abs(u) < width / 2:
                row = min(max(math.floor(v + source[0]), 0), image.shape[1] - 1)
                column = min(max(math.floor(u + source[1]), 0), image.shape[2] - 1)
                result[:, y, x] = patch[:, row, column]
                mask[0, y, x] = True
    return result, mask


def row(pastes, i):
    return (
        float(pastes.height[i]),
        float(pastes.width[i]),
        float(pastes.angle[i]),
        (float(pastes.source_y[i]), float(pastes.source_x[i])),
        (float(pastes.target_y[i]), float(pastes.target_x[i])),
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(20, 40), width=st.integers(20, 40))
def test_cutpaste_equals_slicing(seed, height, width):
    generator = torch.Generator().manual_seed(seed)
    images, patches = torch.rand(2, 3, 3, height, width, generator=generator)
    pastes = sample_cutpaste(3, (height, width), (0.02, 0.15), 3.3, generator)
    pasted, masks = paste(images, patches, pastes)
    for i in range(3):
        h, w = int(pastes.height[i]), int(pastes.width[i])
        top, left = round(float(pastes.target_y[i]) - h / 2), round(float(pastes.target_x[i]) - w / 2)
        y, x = round(float(pastes.source_y[i]) - h / 2), round(float(pastes.source_x[i]) - w / 2)
        assert 0 <= top <= height - h
        assert 0 <= left <= width - w
        assert 0 <= y <= height - h
        assert 0 <= x <= width - w
        expected = images[i].clone()
        expected[:, top : top + h, left : left + w] = patches[i, :, y : y + h, x : x + w]
        assert torch.equal(pasted[i], expected)
        assert int(masks[i].sum()) == h * w
        assert masks[i, 0, top : top + h, left : left + w].all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_scars_equal_a_loop_over_pixels(seed):
    generator = torch.Generator().manual_seed(seed)
    images, patches = torch.rand(2, 2, 3, 48, 40, generator=generator, dtype=torch.float64)
    pastes = sample_scar(2, (48, 40), (2, 8), (10, 25), 45, generator)
    pastes = Pastes(*(getattr(pastes, name).double() for name in pastes.__dataclass_fields__))
    pasted, masks = paste(images, patches, pastes)
    for i in range(2):
        expected, mask = naive_paste(images[i], patches[i], *row(pastes, i))
        # A pixel centre may fall on an edge to within rounding; such pixels may differ.
        assert (masks[i] != mask).float().mean() < 0.01
        agree = (masks[i] == mask).expand_as(expected)
        assert (pasted[i] != expected)[agree].float().mean() < 0.01


def test_cutpaste_sizes_follow_the_paper():
    n = 4000
    pastes = sample_cutpaste(n, (256, 256), (0.02, 0.15), 3.3, torch.Generator().manual_seed(0))
    area = pastes.height * pastes.width / 256**2
    aspect = pastes.height / pastes.width
    assert 0.018 < area.min() < 0.025
    assert 0.14 < area.max() < 0.155
    assert 0.29 < aspect.min() < 0.32
    assert 3.1 < aspect.max() < 3.4
    # Log-uniform: half of them are wider than high; uniform in 0.3..3.3 would give 23 %.
    assert abs(float((aspect < 1).float().mean()) - 0.5) < 0.03


def test_scars_follow_the_paper_and_stay_inside():
    n = 4000
    pastes = sample_scar(n, (256, 256), (2, 16), (10, 25), 45, torch.Generator().manual_seed(0))
    short, long = torch.minimum(pastes.height, pastes.width), torch.maximum(pastes.height, pastes.width)
    assert (short.min(), short.max()) == (2, 16)
    assert long.max() == 25
    degrees = torch.rad2deg(pastes.angle)
    assert -45 <= degrees.min() < -44
    assert 44 < degrees.max() <= 45
    assert abs(float((pastes.height > pastes.width).float().mean()) - 0.5) < 0.06
    black = torch.zeros(50, 1, 256, 256)
    _, masks = paste(black, black, Pastes(*(getattr(pastes, f)[:50] for f in pastes.__dataclass_fields__)))
    covered = masks.sum((1, 2, 3)).float()
    expected = (pastes.height * pastes.width)[:50]
    # Whole inside the image, so the covered area is the rectangle's, to within the pixel grid.
    assert ((covered - expected).abs() <= pastes.height[:50] + pastes.width[:50]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(20, 60), width=st.integers(20, 60), most=st.floats(0.01, 0.5))
def test_boxes_hold_every_covered_pixel(seed, height, width, most):
    generator = torch.Generator().manual_seed(seed)
    images, patches = torch.rand(2, 8, 3, height, width, generator=generator)
    size = (height, width)
    kinds = [
        (sample_cutpaste(8, size, (most / 2, most), 3.3, generator), extent_of_cutpaste(size, (most / 2, most), 3.3)),
        (sample_scar(8, size, (12, 16), (16, 18), 45, generator), extent_of_scar((12, 16), (16, 18))),
    ]
    for pastes, extent in kinds:
        expected, mask = paste(images, patches, pastes)
        where = footprint(pastes, size, extent)
        assert where.inside.shape[1] <= extent + 1
        result, covered = images.clone(), torch.zeros(8, 1, height, width, dtype=torch.uint8)
        lay(result, where, cut(patches, where.source))
        lay(covered, where, torch.ones_like(where.inside, dtype=torch.uint8).unsqueeze(1))
        assert torch.equal(result, expected)
        assert torch.equal(covered.bool(), mask)


def test_select_takes_whole_rectangles():
    generator = torch.Generator().manual_seed(0)
    first, second = (sample_cutpaste(6, (50, 50), (0.02, 0.1), 3.3, generator) for _ in range(2))
    chosen = torch.tensor([True, False, True, True, False, False])
    mixed = select(chosen, first, second)
    for i in range(6):
        assert row(mixed, i) == row(first if chosen[i] else second, i)

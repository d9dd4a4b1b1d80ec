"""Batched Poisson blending against a sparse linear system, image by image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import lil_matrix
from scipy.sparse.linalg import spsolve

from trainer.augment.paste import Pastes, paste
from trainer.augment.poisson import poisson_blend


def rectangles(sizes, sources, targets):
    """Pastes from lists of (height, width) and centres (y, x)."""
    (h, w), (sy, sx), (ty, tx) = (torch.tensor(pairs, dtype=torch.float32).T for pairs in (sizes, sources, targets))
    return Pastes(h, w, torch.zeros_like(h), sy, sx, ty, tx)


def naive_blend(image, patch, covered, offset, mixed):
    """Solve for the covered pixels of one image; ``offset`` leads from a target pixel to its source pixel."""
    result = image.copy()
    height, width = covered.shape
    pixels = [tuple(map(int, p)) for p in np.argwhere(covered)]
    number = {pixel: i for i, pixel in enumerate(pixels)}

    def source(y, x, c):
        return patch[c, min(max(y + offset[0], 0), height - 1), min(max(x + offset[1], 0), width - 1)]

    for c in range(len(image)):
        if not pixels:
            continue
        matrix, right = lil_matrix((len(pixels), len(pixels))), np.zeros(len(pixels))
        for (y, x), i in number.items():
            matrix[i, i] = 4
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                wanted, present = source(y, x, c) - source(*near, c), image[c, y, x] - image[c, near[0], near[1]]
                right[i] += present if mixed and abs(present) >= abs(wanted) else wanted
                if near in number:
                    matrix[i, number[near]] = -1
                else:
                    right[i] += image[c, near[0], near[1]]
        for (y, x), value in zip(pixels, np.atleast_1d(spsolve(matrix.tocsc(), right)), strict=True):
            result[c, y, x] = min(max(value, 0), 1)
    return result


@st.composite
def problems(draw):
    size = draw(st.tuples(st.integers(4, 24), st.integers(4, 24)))
    rows = []
    for _ in range(3):
        extent = [draw(st.integers(1, limit)) for limit in size]
        # Edges on pixel borders, anywhere between half outside and inside the image.
        starts = [
            [draw(st.integers(-(e // 2), s - e + e // 2)) for e, s in zip(extent, size, strict=True)] for _ in "st"
        ]
        rows.append((extent, *[[a + e / 2 for a, e in zip(start, extent, strict=True)] for start in starts]))
    return size, rectangles(*zip(*rows, strict=True)), draw(st.integers(0, 2**31)), draw(st.booleans())


@settings(max_examples=40)
@given(problems())
def test_blending_solves_the_sparse_system(problem):
    (height, width), pastes, seed, mixed = problem
    generator = torch.Generator().manual_seed(seed)
    images, patches = torch.rand(2, 3, 2, height, width, generator=generator)
    before = images.clone()
    blended, masks = poisson_blend(images, patches, pastes, mixed=mixed)
    assert torch.equal(images, before)
    _, laid = paste(images, patches, pastes)
    laid[..., [0, -1], :] = laid[..., [0, -1]] = False
    assert torch.equal(masks, laid)
    for i in range(3):
        offset = [int(getattr(pastes, f"source_{a}")[i] - getattr(pastes, f"target_{a}")[i]) for a in "yx"]
        expected = naive_blend(images[i].numpy(), patches[i].numpy(), masks[i, 0].numpy(), offset, mixed)
        np.testing.assert_allclose(blended[i].numpy(), expected, atol=2e-5)


def test_only_covered_pixels_change():
    images, patches = torch.rand(2, 2, 3, 40, 32, generator=torch.Generator().manual_seed(0))
    blended, masks = poisson_blend(
        images, patches, rectangles([(12, 30), (25, 3)], [(6, 15), (20, 8)], [(9, 16), (27.5, 30.5)])
    )
    assert torch.equal(blended[~masks.expand_as(images)], images[~masks.expand_as(images)])
    assert masks.sum((1, 2, 3)).tolist() == [12 * 30, 2 * 24]


def test_a_brighter_copy_of_the_same_place_changes_nothing():
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1)) / 2
    blended, _ = poisson_blend(images, images + 0.3, rectangles([(20, 20)], [(16, 16)], [(16, 16)]))
    torch.testing.assert_close(blended, images, atol=1e-5, rtol=0)


def test_float32_suffices_for_a_rectangle_as_large_as_the_image():
    images, patches = torch.rand(2, 1, 3, 256, 256, generator=torch.Generator().manual_seed(2))
    pastes = rectangles([(256, 256)], [(128, 128)], [(128, 128)])
    single, _ = poisson_blend(images, patches, pastes)
    double, _ = poisson_blend(images.double(), patches.double(), pastes)
    torch.testing.assert_close(single.double(), double, atol=3e-5, rtol=0)


def test_mixed_keeps_the_texture_of_the_target_under_a_flat_source():
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    flat = torch.full_like(images, 0.5)
    pastes = rectangles([(16, 16)], [(16, 16)], [(16, 16)])
    torch.testing.assert_close(poisson_blend(images, flat, pastes, mixed=True)[0], images, atol=1e-5, rtol=0)
    assert (poisson_blend(images, flat, pastes)[0] - images).abs().max() > 0.2


def test_a_turned_rectangle_is_refused():
    pastes = rectangles([(8, 8)], [(16, 16)], [(16, 16)])
    turned = Pastes(**{**vars(pastes), "angle": torch.tensor([0.1])})
    with pytest.raises(ValueError, match="not rotated"):
        poisson_blend(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), turned)

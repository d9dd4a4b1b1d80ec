"""The part is found on a plain background; without one, the whole image is the part."""

import numpy as np
import pytest
import torch

from edge_occ.common.images import find_images
from trainer.data.foreground import foreground
from trainer.data.images import read_frames


def disc(ground, part, size=64, radius=20, hole=0):
    """One image of a disc, perhaps with a hole."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = ((y - size / 2) ** 2 + (x - size / 2) ** 2).sqrt()
    inside = (distance <= radius) & (distance >= hole)
    return torch.where(inside, *(torch.tensor(c).view(3, 1, 1) for c in (part, ground))), distance


def naive_foreground(image):
    """The same rules with numpy, one image and one pixel at a time."""
    _, height, width = image.shape
    image = np.rint(image * 255).astype(int)
    y, x = np.indices((height, width))
    frame = np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x)) < 4
    border = image[:, frame]
    ground = np.sort(border, axis=1)[:, (border.shape[1] - 1) // 2]
    spread = np.quantile(np.abs(border - ground[:, None]).max(0), 0.9)
    contrast = np.abs(image - ground[:, None, None]).max(0)
    threshold = max(1.5 * spread, 12)
    for _ in range(4):
        above = contrast[contrast > threshold]
        threshold = max(threshold, above.mean() / 2) if len(above) else threshold
    differs = np.pad(contrast > threshold, 2)
    smooth = np.array([[differs[r : r + 5, c : c + 5].sum() >= 13 for c in range(width)] for r in range(height)])
    part = smooth.copy()
    for r in range(height):
        for c in range(width):
            rays = (smooth[: r + 1, c], smooth[r:, c], smooth[r, : c + 1], smooth[r, c:])
            part[r, c] = all(ray.any() for ray in rays)
    return part if spread <= 24 and part.mean() >= 0.01 else np.ones_like(part)


def test_the_batch_equals_a_loop_over_pixels():
    noise = torch.rand(6, 3, 40, 32, generator=torch.Generator().manual_seed(0))
    images = 0.7 + 0.08 * noise
    # The fourth reaches the border, so most of the frame is no plain ground; the last two are specks.
    for image, strength, side in zip(images, (0.1, 0.2, 0.5, 0.9, 0.3, 0.3), (12, 20, 7, 40, 3, 1), strict=True):
        spot = image[:, 8 : 8 + side, 5 : 5 + side]
        spot -= strength * spot * spot
    found = foreground(images)
    expected = [naive_foreground(image.numpy()) for image in images]
    assert [bool(e.all()) for e in expected] == [False, False, False, True, True, True]
    for mask, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask[0].numpy(), wanted)


@pytest.mark.parametrize("ground", [(1.0, 1.0, 1.0), (0.05, 0.05, 0.08), (0.8, 0.8, 0.8)])
def test_a_disc_is_found_on_any_plain_ground(ground):
    image, distance = disc(ground, (0.45, 0.3, 0.4))
    part = foreground(image[None])[0, 0]
    assert part[distance < 19].all()
    assert not part[distance > 22].any()


def test_a_spot_in_the_colour_of_the_ground_is_part_when_surrounded():
    image, distance = disc((1.0, 1.0, 1.0), (0.2, 0.2, 0.2), hole=8)
    assert foreground(image[None])[0, 0, distance < 19].all()


def test_a_shadow_that_fades_is_no_part():
    image, distance = disc((0.8, 0.8, 0.8), (0.2, 0.2, 0.2), radius=12)
    shadow = (0.25 * (26 - distance) / 14).clamp_min(0)
    part = foreground(torch.where(distance > 12, 0.8 - shadow, image)[None])[0, 0]
    assert part[distance < 11].all()
    assert not part[distance > 15].any()


def test_dust_on_the_ground_is_no_part():
    image, distance = disc((0.1, 0.1, 0.1), (0.9, 0.9, 0.9), radius=12)
    image[:, 4:7, 50:53] = 0.9
    assert not foreground(image[None])[0, 0, distance > 15].any()


def test_textures_and_even_surfaces_are_part_all_over():
    texture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    even = torch.full((3, 64, 64), 0.4)
    part, _ = disc((1.0, 1.0, 1.0), (0.2, 0.2, 0.2))
    found = foreground(torch.stack([texture, even, part]))
    assert found.shape == (3, 1, 64, 64)
    assert found.dtype == torch.bool
    assert found.all((1, 2, 3)).tolist() == [True, True, False]


@pytest.mark.data
@pytest.mark.parametrize(
    ("category", "low", "high"), [("bottle", 0.60, 0.64), ("pill", 0.38, 0.42), ("screw", 0.1, 0.22)]
)
def test_real_parts_have_the_size_they_are_seen_to_have(shared_data, category, low, high):
    paths = find_images(shared_data / "mvtec_ad" / category / "train" / "good")[::40]
    for frames in read_frames(tuple(paths), "parts"):
        images = frames.permute(0, 3, 1, 2).float() / 255
        shares = foreground(images).float().mean((1, 2, 3))
        assert low < shares.min()
        assert shares.max() < high

"""Each batched augmentation against a loop over images and pixels."""

import colorsys

import torch

from trainer.augment import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    colour_jitter,
    random_flip,
    random_shift,
)


def images(n=3, height=9, width=7, seed=0):
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(seed))


def grey(pixel):
    return 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]


def per_pixel(batch, function):
    """Apply function(image index, pixel) -> pixel to every pixel, in plain Python."""
    result = torch.empty_like(batch)
    for i, image in enumerate(batch):
        for y in range(image.shape[1]):
            for x in range(image.shape[2]):
                result[i, :, y, x] = torch.tensor(function(i, image[:, y, x].tolist()))
    return result


def clip(values):
    return [min(max(value, 0.0), 1.0) for value in values]


def test_brightness():
    batch, factor = images(), torch.tensor([0.5, 1.0, 1.7])
    expected = per_pixel(batch, lambda i, p: clip([v * float(factor[i]) for v in p]))
    torch.testing.assert_close(adjust_brightness(batch, factor), expected)


def test_contrast():
    batch, factor = images(), torch.tensor([0.5, 1.0, 1.7])
    mean = [sum(grey(image[:, y, x].tolist()) for y in range(9) for x in range(7)) / 63 for image in batch]
    expected = per_pixel(batch, lambda i, p: clip([mean[i] + (v - mean[i]) * float(factor[i]) for v in p]))
    torch.testing.assert_close(adjust_contrast(batch, factor), expected)


def test_saturation():
    batch, factor = images(), torch.tensor([0.0, 1.0, 1.7])
    expected = per_pixel(batch, lambda i, p: clip([grey(p) + (v - grey(p)) * float(factor[i]) for v in p]))
    torch.testing.assert_close(adjust_saturation(batch, factor), expected)


def test_hue():
    batch, shift = images(), torch.tensor([-0.4, 0.0, 0.1])
    batch[0, :, 0, 0] = 0.5  # grey has no hue

    def turn(i, pixel):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((hue + float(shift[i])) % 1, saturation, value)

    torch.testing.assert_close(adjust_hue(batch, shift), per_pixel(batch, turn), rtol=1e-4, atol=1e-5)


def test_jitter_of_no_strength_is_nothing_and_of_some_is_bounded_and_repeatable():
    batch = images()
    assert colour_jitter(batch, 0, torch.Generator()) is batch
    first = colour_jitter(batch, 0.1, torch.Generator().manual_seed(1))
    second = colour_jitter(batch, 0.1, torch.Generator().manual_seed(1))
    assert torch.equal(first, second)
    assert not torch.equal(first, batch)
    assert 0 <= first.min()
    assert first.max() <= 1


def test_flips_are_one_of_the_four_mirror_images_and_all_occur():
    batch = images(64, 4, 5)
    flipped = random_flip(batch, torch.Generator().manual_seed(0))
    seen = set()
    for before, after in zip(batch, flipped, strict=True):
        mirrored = [before, before.flip(1), before.flip(2), before.flip(1).flip(2)]
        which = [torch.equal(after, candidate) for candidate in mirrored]
        assert sum(which) == 1
        seen.add(which.index(True))
    assert seen == {0, 1, 2, 3}
    assert torch.equal(random_flip(batch, torch.Generator(), horizontal=False, vertical=False), batch)


def test_shift_moves_with_mirrored_edges():
    batch = images(16, 8, 8)
    shifted = random_shift(batch, 0.25, torch.Generator().manual_seed(0))
    for before, after in zip(batch, shifted, strict=True):
        found = [
            (dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if torch.equal(after, naive_shift(before, dy, dx))
        ]
        assert len(found) == 1
    assert random_shift(batch, 0, torch.Generator()) is batch


def naive_shift(image, dy, dx):
    def mirror(position, size):
        position = abs(position)
        return size - 1 - abs(size - 1 - position)

    result = torch.empty_like(image)
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            result[:, y, x] = image[:, mirror(y + dy, image.shape[1]), mirror(x + dx, image.shape[2])]
    return result

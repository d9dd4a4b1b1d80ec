"""Each batched augmentation against a loop over images and pixels."""

import colorsys
import itertools
from collections.abc import Callable
from functools import partial

import torch

from trainer.augment.transforms import adjust_colour, adjust_hue, colour_jitter, luma, random_flip, random_shift, take


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


ONE = torch.ones(3)


def brighter(factor):
    return lambda i, p: [v * float(factor[i]) for v in p]


def stretched(factor, mean):
    return lambda i, p: [mean[i] + (v - mean[i]) * float(factor[i]) for v in p]


def more_colourful(factor):
    return lambda i, p: [grey(p) + (v - grey(p)) * float(factor[i]) for v in p]


def means(batch):
    return [sum(grey(image[:, y, x].tolist()) for y in range(9) for x in range(7)) / 63 for image in batch]


def test_brightness():
    batch, factor = images(), torch.tensor([0.5, 1.0, 1.7])
    torch.testing.assert_close(adjust_colour(batch, factor, ONE, ONE), per_pixel(batch, brighter(factor)).clamp(0, 1))


def test_contrast():
    batch, factor = images(), torch.tensor([0.5, 1.0, 1.7])
    expected = per_pixel(batch, stretched(factor, means(batch))).clamp(0, 1)
    torch.testing.assert_close(adjust_colour(batch, ONE, factor, ONE), expected)


def test_contrast_about_another_mean():
    batch, factor, mean = images(), torch.tensor([0.5, 1.0, 1.7]), torch.tensor([0.1, 0.5, 0.9])
    expected = per_pixel(batch, stretched(factor, mean.tolist())).clamp(0, 1)
    torch.testing.assert_close(adjust_colour(batch, ONE, factor, ONE, mean=mean), expected)


def test_saturation():
    batch, factor = images(), torch.tensor([0.0, 1.0, 1.7])
    expected = per_pixel(batch, more_colourful(factor)).clamp(0, 1)
    torch.testing.assert_close(adjust_colour(batch, ONE, ONE, factor), expected)


def test_one_pass_equals_the_three_in_any_order():
    batch = 0.4 + 0.2 * images()  # nothing is clipped
    factors = torch.tensor([[0.9, 1.0, 1.1], [1.1, 0.9, 1.05], [0.5, 1.2, 1.0]])
    found = adjust_colour(batch, *factors)
    for order in itertools.permutations(range(3)):
        expected = batch
        for step in order:
            makers: list[Callable] = [brighter, partial(stretched, mean=means(expected)), more_colourful]
            expected = per_pixel(expected, makers[step](factors[step]))
        torch.testing.assert_close(found, expected)


def test_jitter_turns_the_hue_before_or_after_the_rest():
    batch, strength, n = 0.4 + 0.2 * images(1).expand(64, -1, -1, -1), 0.1, 64
    found = colour_jitter(batch, strength, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    spread = (2 * torch.rand(4, n, generator=generator) - 1) * strength
    factors = 1 + spread[:3]
    before = adjust_colour(adjust_hue(batch, spread[3]), *factors)
    after = adjust_hue(adjust_colour(batch, *factors), spread[3])
    first = (found - before).abs().amax((1, 2, 3)) < 1e-5
    last = (found - after).abs().amax((1, 2, 3)) < 1e-5
    assert (first | last).all()
    assert 16 < int((first & ~last).sum()) < 48


def test_luma_and_take():
    batch = images()
    torch.testing.assert_close(luma(batch), per_pixel(batch, lambda i, p: [grey(p)] * 3)[:, :1])
    rows, columns = torch.tensor([[0, 8], [3, 3], [5, 1]]), torch.tensor([[6], [0], [2]])
    expected = torch.stack([batch[i][:, rows[i]][:, :, columns[i]] for i in range(3)])
    assert torch.equal(take(batch, rows, columns), expected)


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

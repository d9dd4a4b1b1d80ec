"""Views against loops over images and pixels."""

import colorsys
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.augment.transforms import colour_jitter, random_flip, random_shift
from trainer.augment.views import crop_and_resize, jitter, mild_view, random_blur, random_grey, strong_view
from trainer.config import PretextConfig, ViewsConfig

OFF = {"crop": 1, "flip": False, "brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "grey": 0}


def images(n=3, side=8, seed=0):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def naive_resize(image, size):
    """Bilinear, pixels centred on halves, one value after another."""
    _, side, _ = image.shape
    result = torch.empty(3, size, size)
    for row, column in itertools.product(range(size), repeat=2):
        y = min(max((row + 0.5) * side / size - 0.5, 0), side - 1)
        x = min(max((column + 0.5) * side / size - 0.5, 0), side - 1)
        top, left = int(y), int(x)
        below, right = min(top + 1, side - 1), min(left + 1, side - 1)
        upper = image[:, top, left] * (left + 1 - x) + image[:, top, right] * (x - left)
        lower = image[:, below, left] * (left + 1 - x) + image[:, below, right] * (x - left)
        result[:, row, column] = upper * (top + 1 - y) + lower * (y - top)
    return result


def crops(image, low):
    """Every square of an image, resized, by side, place and whether it is mirrored."""
    size = image.shape[1]
    for side in range(low, size + 1):
        for top, left in itertools.product(range(size - side + 1), repeat=2):
            square = image[:, top : top + side, left : left + side]
            resized = functional.interpolate(square.unsqueeze(0), (size, size), mode="bilinear")[0]
            yield (side, top, left, False), resized
            if side > 1:  # a single pixel is its own mirror image
                yield (side, top, left, True), resized.flip(2)


def found(view, candidates):
    keys = [key for key, candidate in candidates if float((view - candidate).abs().max()) < 1e-4]
    assert len(keys) == 1, keys
    return keys[0]


def test_the_library_resizes_as_the_loop_does():
    for side in (4, 5, 8):
        square = images(1, side)
        expected = functional.interpolate(square, (8, 8), mode="bilinear")[0]
        torch.testing.assert_close(naive_resize(square[0], 8), expected)


@settings(max_examples=25, deadline=None)
@given(st.integers(3, 9), st.floats(0.1, 1), st.booleans(), st.integers(0, 1000))
def test_a_crop_is_one_of_the_squares_of_its_image(size, least, flip, seed):
    batch = images(4, size, seed)
    views = crop_and_resize(batch, least, generator(seed), flip)
    for image, view in zip(batch, views, strict=True):
        *_, mirrored = found(view, list(crops(image, max(1, int(least * size)))))
        assert flip or not mirrored


def test_sides_are_uniform_and_every_place_and_mirror_image_occurs():
    image = images(1)
    candidates = list(crops(image[0], 4))
    views = crop_and_resize(image.expand(1500, -1, -1, -1), 0.5, generator(), flip=True)
    flat = torch.stack([candidate for _, candidate in candidates]).flatten(1)
    nearest = torch.cdist(views.flatten(1), flat).argmin(1)
    keys = [candidates[i][0] for i in nearest.tolist()]
    for side in range(4, 9):
        assert abs(sum(key[0] == side for key in keys) - 300) < 80
    assert abs(sum(key[3] for key in keys) - 750) < 100
    assert {key[1:3] for key in keys if key[0] == 4} == set(itertools.product(range(5), repeat=2))


def test_a_whole_crop_is_the_image():
    batch = images()
    torch.testing.assert_close(crop_and_resize(batch, 1, generator()), batch, rtol=0, atol=1e-5)


def test_images_that_are_not_square_are_refused():
    with pytest.raises(ValueError, match="square images, not of 8 x 6"):
        crop_and_resize(torch.rand(2, 3, 8, 6), 0.5, generator())


def naive_jitter(image, added, contrast, saturation, turn):
    """Four steps, pixel after pixel; hue and saturation by the standard library, in units of the pixel's own range."""
    result = image + added
    for channel in range(3):
        values = result[channel].flatten().tolist()
        mean = sum(values) / len(values)
        for row, column in itertools.product(range(image.shape[1]), repeat=2):
            result[channel, row, column] = (float(result[channel, row, column]) - mean) * contrast + mean
    for row, column in itertools.product(range(image.shape[1]), repeat=2):
        pixel = result[:, row, column].tolist()
        high, low = max(pixel), min(pixel)
        if high == low:
            continue
        s = (high - low) / high if high > 0 else 0
        new_low = high * (1 - min(1, s * saturation)) if high > 0 else high
        hue, _, _ = colorsys.rgb_to_hsv(*((value - low) / (high - low) for value in pixel))
        turned = colorsys.hsv_to_rgb((hue + turn) % 1, 1, 1)
        result[:, row, column] = torch.tensor([new_low + value * (high - new_low) for value in turned])
    return result


def drawn(n, seed, config):
    """The values that :func:`jitter` draws."""
    spread = 2 * torch.rand(4, n, 1, 1, 1, generator=generator(seed)) - 1
    added, contrast, saturation, turn = spread.view(4, n).tolist()
    return [
        (a * config.brightness, 1 + c * config.contrast, 1 + s * config.saturation, h * config.hue)
        for a, c, s, h in zip(added, contrast, saturation, turn, strict=True)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_jitter_is_brightness_contrast_saturation_and_hue(seed):
    config, batch = ViewsConfig(), images(6, 7, seed)
    views = jitter(batch, config, generator(seed))
    expected = [naive_jitter(image, *draw) for image, draw in zip(batch, drawn(6, seed, config), strict=True)]
    torch.testing.assert_close(views, torch.stack(expected), rtol=1e-4, atol=2e-5)
    assert views.max() > 1  # nothing is clipped


def test_jitter_of_colours_within_0_to_1_equals_hsv():
    config = ViewsConfig(**{**OFF, "saturation": 0.4, "hue": 0.4})
    batch = images(4, 5)
    views = jitter(batch, config, generator())
    for image, view, (_, _, factor, turn) in zip(batch, views, drawn(4, 0, config), strict=True):
        for row, column in itertools.product(range(5), repeat=2):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[:, row, column].tolist())
            expected = colorsys.hsv_to_rgb((hue + turn) % 1, min(1, saturation * factor), value)
            assert view[:, row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_strengths_are_uniform_up_to_their_limits():
    """Each seen in a picture on which nothing else shows."""
    n, grey = 2000, torch.full((2000, 3, 2, 2), 0.5)
    added = jitter(grey, ViewsConfig(), generator())[:, 0, 0, 0] - 0.5
    steps = grey.clone()
    steps[:, :, 0] = 0.7
    stretched = jitter(steps, ViewsConfig(), generator())
    contrast = (stretched[:, 0, 0, 0] - stretched[:, 0, 1, 0]) / 0.2
    colours = torch.tensor([0.5, 0.4, 0.4]).view(1, 3, 1, 1).expand(n, 3, 1, 1)
    config = ViewsConfig(**{**OFF, "saturation": 0.4, "hue": 0.4})
    turned = jitter(colours, config, generator()).view(n, 3)
    saturation = (turned.amax(1) - turned.amin(1)) / 0.1
    hue = torch.tensor([colorsys.rgb_to_hsv(*pixel)[0] for pixel in turned.tolist()])
    hue = torch.where(hue > 0.5, hue - 1, hue)
    for values, centre in ((added, 0), (contrast, 1), (saturation, 1), (hue, 0)):
        assert values.min() >= centre - 0.4 - 1e-4
        assert values.max() <= centre + 0.4 + 1e-4
        quarters = torch.histc(values, 4, centre - 0.4, centre + 0.4)
        assert (quarters - 500).abs().max() < 100


def test_a_picture_without_colours_stays_so():
    batch = torch.rand(4, 1, 6, 6).expand(-1, 3, -1, -1)
    views = strong_view(batch, ViewsConfig(), generator())
    torch.testing.assert_close(views, views[:, :1].expand_as(views))


def test_grey_views_have_the_share_asked_for():
    batch = images(1, 4).expand(2000, -1, -1, -1)
    views = random_grey(batch, 0.2, generator())
    grey = torch.zeros(1, 4, 4)
    for row, column in itertools.product(range(4), repeat=2):
        red, green, blue = batch[0, :, row, column].tolist()
        grey[0, row, column] = 0.299 * red + 0.587 * green + 0.114 * blue
    is_grey = (views - grey).abs().amax((1, 2, 3)) < 1e-5
    untouched = (views == batch).all(3).all(2).all(1)
    assert (is_grey ^ untouched).all()
    assert abs(int(is_grey.sum()) - 400) < 90


def naive_blur(image, sigma, reach):
    size = image.shape[1]
    result = torch.zeros_like(image)
    for row, column in itertools.product(range(size), repeat=2):
        total = 0.0
        for y, x in itertools.product(range(size), repeat=2):
            if abs(y - row) <= reach and abs(x - column) <= reach:
                weight = float(torch.exp(torch.tensor(-((y - row) ** 2 + (x - column) ** 2) / (2 * sigma**2))))
                result[:, row, column] += weight * image[:, y, x]
                total += weight
        result[:, row, column] /= total
    return result


def test_blur_is_a_gaussian_of_random_sigma():
    batch = images(3, 20)  # a kernel of 3
    views = random_blur(batch, 1, generator(4))
    sigmas = (0.1 + 1.9 * torch.rand(3, 1, 1, generator=generator(4))).flatten().tolist()
    expected = [naive_blur(image, sigma, 1) for image, sigma in zip(batch, sigmas, strict=True)]
    torch.testing.assert_close(views, torch.stack(expected))


def test_blur_is_a_switch():
    batch, source = images(400, 20), generator()
    assert random_blur(batch, 0, torch.Generator()) is batch
    sigma, coin = torch.rand(2, 400, generator=source)
    views = random_blur(batch, 0.5, generator())
    assert torch.equal(views[coin >= 0.5], batch[coin >= 0.5])
    visible = (coin < 0.5) & (sigma > 0.15)  # sigmas far below a pixel change nothing
    assert ((views - batch).abs().amax((1, 2, 3)) > 1e-3)[visible].all()
    assert 130 < int(visible.sum()) < 210


def test_a_view_is_all_of_it_in_order():
    config, batch = ViewsConfig(blur=0.5), images(16, 24)
    source = generator(3)
    expected = crop_and_resize(batch, 0.5, source, flip=True)
    expected = random_blur(random_grey(jitter(expected, config, source), 0.2, source), 0.5, source)
    views = strong_view(batch, config, generator(3))
    assert torch.equal(views, expected)
    assert torch.equal(batch, images(16, 24))
    again, other = strong_view(batch, config, generator(3)), strong_view(batch, config, generator(4))
    assert torch.equal(views, again)
    assert not torch.equal(views, other)


def test_with_everything_off_a_view_is_the_image():
    batch = images()
    torch.testing.assert_close(strong_view(batch, ViewsConfig(**OFF), generator()), batch, rtol=0, atol=1e-5)


def test_every_row_is_drawn_by_itself():
    views = strong_view(images(1, 16).expand(64, -1, -1, -1), ViewsConfig(), generator())
    distances = torch.cdist(views.flatten(1), views.flatten(1))
    assert distances.masked_fill(torch.eye(64, dtype=torch.bool), 1).min() > 0.1


@pytest.mark.parametrize("vertical", [True, False])
def test_the_mild_set_mirrors_translates_and_jitters(vertical):
    config, batch = PretextConfig(shift=0.25, image_jitter=0.2), images(16, 12)
    source = generator(3)
    expected = random_shift(random_flip(batch, source, True, vertical), 0.25, source)
    expected = colour_jitter(expected, 0.2, source, hue=False)
    assert torch.equal(mild_view(batch, config, generator(3), vertical), expected)
    plain = PretextConfig(flips=False, image_jitter=0)
    assert torch.equal(mild_view(batch, plain, generator(), vertical), batch)

"""Rectangles of colour and confetti against loops over pixels of one image at a time."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.augment.occlusion import (
    CONFETTI_BLACK,
    CONFETTI_COLOURED,
    add_noise,
    confetti,
    cover,
    random_colours,
    sample_squares,
    smooth,
)
from trainer.augment.paste import Pastes, sample_cutpaste, sample_scar


def draw(seed):
    return torch.Generator().manual_seed(seed)


def naive_cover(image, colour, rectangles, i):
    """Fill a turned rectangle, pixel by pixel."""
    result = image.clone()
    cos, sin = math.cos(float(rectangles.angle[i])), math.sin(float(rectangles.angle[i]))
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            dy, dx = y + 0.5 - float(rectangles.target_y[i]), x + 0.5 - float(rectangles.target_x[i])
            v, u = cos * dy + sin * dx, cos * dx - sin * dy
            if abs(v) < float(rectangles.height[i]) / 2 and abs(u) < float(rectangles.width[i]) / 2:
                result[:, y, x] = colour
    return result


def double(rectangles):
    return Pastes(*(getattr(rectangles, name).double() for name in rectangles.__dataclass_fields__))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), height=st.integers(30, 48), width=st.integers(30, 48))
def test_a_rectangle_of_colour_equals_slicing(seed, height, width):
    generator = draw(seed)
    images, colours = torch.rand(3, 3, height, width, generator=generator), random_colours(3, generator)
    rectangles = sample_cutpaste(3, (height, width), (0.02, 0.15), 3.3, generator)
    covered = cover(images, colours, rectangles)
    for i in range(3):
        h, w = int(rectangles.height[i]), int(rectangles.width[i])
        top = round(float(rectangles.target_y[i]) - h / 2)
        left = round(float(rectangles.target_x[i]) - w / 2)
        expected = images[i].clone()
        expected[:, top : top + h, left : left + w] = colours[i].view(3, 1, 1)
        assert torch.equal(covered[i], expected)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_a_turned_rectangle_of_colour_equals_a_loop_over_pixels(seed):
    generator = draw(seed)
    images = torch.rand(2, 3, 40, 48, generator=generator, dtype=torch.float64)
    colours = random_colours(2, generator).double()
    rectangles = double(sample_scar(2, (40, 48), (2, 16), (10, 25), 45, generator))
    covered = cover(images, colours, rectangles)
    for i in range(2):
        expected = naive_cover(images[i], colours[i], rectangles, i)
        # A pixel centre may fall on an edge to within rounding.
        assert (covered[i] != expected).float().mean() < 0.005


def test_colours_are_uniform_and_one_an_image():
    colours = random_colours(4000, draw(0))
    assert colours.shape == (4000, 3)
    assert colours.mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.02)
    assert colours.var(0).tolist() == pytest.approx([1 / 12] * 3, abs=0.005)
    assert abs(float(torch.corrcoef(colours.T)[0, 1])) < 0.05


def test_squares_are_as_many_and_as_large_as_in_fcdd():
    n, size = 4000, (256, 256)
    squares = sample_squares(n, size, CONFETTI_COLOURED, draw(0))
    counts = sum((square.height > 0).int() for square in squares)
    mean = CONFETTI_COLOURED * 256 * 256
    assert counts.min() == 1
    # A Poisson count that is not zero has this mean.
    assert float(counts.float().mean()) == pytest.approx(mean / (1 - math.exp(-mean)), abs=0.05)
    assert float((counts == 1).float().mean()) == pytest.approx(mean / (math.exp(mean) - 1), abs=0.03)
    first = squares[0]
    assert (first.height == first.width).all()
    assert (first.height.min(), first.height.max()) == (8, 54)
    assert float(first.height.mean()) == pytest.approx(31, abs=1)
    turn = torch.rad2deg(first.angle)
    assert -45 <= turn.min() < -44
    assert 44 < turn.max() <= 45
    for centre in (first.target_y, first.target_x):
        assert 0 <= centre.min() < 2
        assert 254 < centre.max() < 256


def test_smoothing_equals_summing_over_neighbours():
    noise = torch.rand(2, 3, 30, 26, generator=draw(0), dtype=torch.float64)
    found = smooth(noise)

    def mirror(position, size):
        position = abs(position)
        return size - 1 - abs(size - 1 - position)

    total = sum(math.exp(-(k * k) / 50) for k in range(-12, 13))
    for i, c, y, x in ((0, 0, 0, 0), (1, 2, 29, 13), (0, 1, 15, 25), (1, 0, 14, 12)):
        expected = sum(
            float(noise[i, c, mirror(y + dy, 30), mirror(x + dx, 26)]) * math.exp(-(dy * dy + dx * dx) / 50)
            for dy in range(-12, 13)
            for dx in range(-12, 13)
        )
        assert float(found[i, c, y, x]) == pytest.approx(expected / total**2)


def naive_add(image, noise):
    """FCDD's rule in grey levels of 0..255, for one image."""
    pixels, change = image * 255, noise * 255
    done = (pixels + change).clamp(0, 255)
    other = (pixels - change).clamp(0, 255)
    moved, moved_other = abs(float((done - pixels).mean())), abs(float((other - pixels).mean()))
    return (other if moved < 0.025 and moved_other > moved else done) / 255


def test_noise_changes_sign_where_it_would_not_show():
    noise = torch.zeros(4, 3, 32, 32, dtype=torch.float64)
    noise[:3, :, 4:20, 4:20] = -0.7
    images = torch.rand(4, 3, 32, 32, generator=draw(1), dtype=torch.float64)
    images[1] = 0  # black: cannot be darker
    images[2, :, 4:20, 4:20] = 0.0001  # nearly
    found = add_noise(images, noise)
    for i in range(4):
        torch.testing.assert_close(found[i], naive_add(images[i], noise[i]))
    assert (found[0, :, 4:20, 4:20] <= images[0, :, 4:20, 4:20]).all()
    assert found[1].max() > 0.69
    assert found[2].max() > 0.69
    assert torch.equal(found[3], images[3])


def naive_confetti(images, generator):
    """The same draws, painted image by image."""
    n, _, height, width = images.shape
    noise = torch.zeros_like(images)
    for rate, coloured in ((CONFETTI_COLOURED, True), (CONFETTI_BLACK, False)):
        layers = torch.zeros_like(images)
        for squares in sample_squares(n, (height, width), rate, generator):
            colours = random_colours(n, generator) if coloured else torch.ones(n, 3)
            for i in range(n):
                layers[i] = naive_cover(layers[i], -colours[i].to(images.dtype), double(squares), i)
        noise += layers
    smoothed = torch.cat([smooth(one.unsqueeze(0)) for one in noise])
    return torch.stack([naive_add(*pair) for pair in zip(images, smoothed, strict=True)])


def test_confetti_equals_painting_image_by_image():
    images = torch.rand(4, 3, 40, 44, generator=draw(2), dtype=torch.float64)
    images[3] = 0
    found = confetti(images, draw(3))
    torch.testing.assert_close(found, naive_confetti(images, draw(3)), atol=5e-3, rtol=0)
    assert ((found - images).abs().amax((1, 2, 3)) > 0.1).all()
    assert (found[:3] <= images[:3] + 1e-9).all()
    assert found[3].max() > 0.1

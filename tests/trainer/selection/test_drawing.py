"""The geometry of synthetic defects against loops over pixels."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.selection.drawing import around, curve_distance, moved, perlin_noise, stencils


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@given(angle=st.floats(-7, 7), y=st.floats(-5, 20), x=st.floats(-5, 20))
def test_coordinates_are_turned_about_the_centre(angle, y, x):
    v, u = around(torch.zeros(1, 3, 5, 7), torch.tensor([[y], [x]]), torch.tensor([angle]))
    plain_v, plain_u = around(torch.zeros(1, 3, 5, 7), torch.tensor([[y], [x]]))
    for row in range(5):
        for column in range(7):
            offset = complex(column + 0.5 - x, row + 0.5 - y)
            turned = offset * complex(math.cos(angle), math.sin(angle))
            assert complex(u[0, row, column], v[0, row, column]) == pytest.approx(turned, abs=1e-4)
            assert complex(plain_u[0, 0, column], plain_v[0, row, 0]) == pytest.approx(offset, abs=1e-4)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**31), dy=st.integers(-9, 9), dx=st.integers(-9, 9))
def test_moving_by_whole_pixels_is_a_shift_with_mirrored_edges(seed, dy, dx):
    images = torch.rand(2, 3, 12, 14, generator=seeded(seed))
    source = torch.full((2, 2), 5.5)
    target = source + torch.tensor([[dy], [dx]])
    result = moved(images, source, target, torch.ones(2, 2)).numpy()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (9, 9), (9, 9)), "symmetric")
    expected = padded[:, :, 9 - dy : 21 - dy, 9 - dx : 23 - dx]
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_moving_scales_and_mirrors_like_a_loop_over_pixels():
    images = torch.rand(2, 1, 16, 18, generator=seeded(13))
    source, target = torch.tensor([[7.0, 8.2], [9.0, 8.7]]), torch.tensor([[8.5, 9.0], [8.0, 10.1]])
    scale = torch.tensor([[2.0, -1.6], [-1.5, 1.3]])
    result = moved(images, source, target, scale)
    for i in range(2):
        for y in range(16):
            for x in range(18):
                # From pixel centres at halves to indices at whole numbers.
                v = float((y + 0.5 - target[0, i]) / scale[0, i] + source[0, i]) - 0.5
                u = float((x + 0.5 - target[1, i]) / scale[1, i] + source[1, i]) - 0.5
                if not (0 <= v < 15 and 0 <= u < 17):
                    continue
                (r, a), (c, b) = ((math.floor(t), t - math.floor(t)) for t in (v, u))
                p = images[i, 0, r : r + 2, c : c + 2]
                expected = (1 - a) * ((1 - b) * p[0, 0] + b * p[0, 1]) + a * ((1 - b) * p[1, 0] + b * p[1, 1])
                assert float(result[i, 0, y, x]) == pytest.approx(float(expected), abs=1e-5)


def test_perlin_noise_equals_a_loop_over_pixels():
    cells = [3.0, 7.5]
    noise = perlin_noise((2, 12, 15), torch.tensor(cells), seeded(14))
    angles = 2 * math.pi * torch.rand(2, 32, 32, generator=seeded(14))

    def fade(t):
        return 6 * t**5 - 15 * t**4 + 10 * t**3

    for i, cell in enumerate(cells):
        for row in range(12):
            for column in range(15):
                y, x = (row + 0.5) / cell, (column + 0.5) / cell
                expected = 0.0
                for r in (math.floor(y), math.floor(y) + 1):
                    for c in (math.floor(x), math.floor(x) + 1):
                        angle = float(angles[i, r % 32, c % 32])
                        slope = math.sin(angle) * (y - r) + math.cos(angle) * (x - c)
                        expected += fade(1 - abs(y - r)) * fade(1 - abs(x - c)) * slope
                assert float(noise[i, row, column]) == pytest.approx(expected, abs=1e-5)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**31))
def test_curve_distance_is_that_of_many_points_on_the_curve(seed):
    points = 24 * torch.rand(3, 2, 2, generator=seeded(seed), dtype=torch.float64)
    distance = curve_distance(points, (20, 24))
    t = np.linspace(0, 1, 1000)
    for i in range(2):
        p0, p1, p2 = points[:, :, i].numpy()[:, :, None]
        curve = (1 - t) ** 2 * p0 + 2 * t * (1 - t) * p1 + t**2 * p2
        y, x = np.indices((20, 24))[..., None] + 0.5
        expected = np.hypot(y - curve[0], x - curve[1]).min(-1)
        # Chords of a twelfth lie off the curve by at most |p0 - 2 p1 + p2| / 4 / 12^2, here 0.1 px.
        np.testing.assert_allclose(distance[i].numpy(), expected, atol=0.13)


def test_a_curve_of_one_point_is_a_distance_from_it():
    distance = curve_distance(torch.full((3, 2, 1), 4.5), (9, 9))
    assert [float(distance[0, y, x]) for y, x in ((4, 4), (4, 8), (1, 0))] == pytest.approx([0, 4, 5])


def test_stencils_are_a_square_an_ellipse_a_heart_and_digits():
    shapes = stencils()
    shares = shapes.float().mean((1, 2))
    assert shares[0] == 1
    assert float(shares[1]) == pytest.approx(math.pi / 8, abs=0.01)
    # The heart (x² + y² - 1)³ + x² y³ < 0 (y down) has an area of 3.66.
    assert float(shares[2]) == pytest.approx(3.66 / 1.2**2 / 4, abs=0.01)
    assert torch.equal(shapes[2], shapes[2].flip(1))
    assert len(shapes) > 50
    assert shares[3:].min() > 0.1
    assert shares[3:].max() < 0.5

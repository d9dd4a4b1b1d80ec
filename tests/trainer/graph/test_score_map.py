"""From a grid of scores to a map: against a sum written out, and against the paper's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from edge_occ.bundle.score_map import upsampling_matrix
from trainer.config import MapConfig
from trainer.encoders.dense import DensePatchEncoder
from trainer.graph.score_map import ScoreMapLayer


def centres_of(size, stride=8):
    return DensePatchEncoder(stride, 4, 8).centres(size)


@settings(max_examples=15, deadline=None)
@given(sigma=st.floats(1, 30), stride=st.sampled_from([4, 8, 16]), seed=st.integers(0, 1000))
def test_smoothing_is_a_normalised_sum_of_gaussians(sigma, stride, seed):
    size = (96, 160)
    rows, columns = ([stride * i + 32 for i in range((side - 64) // stride + 1)] for side in size)
    seeded = torch.Generator().manual_seed(seed)
    grid = torch.rand(1, len(rows), len(columns), generator=seeded, dtype=torch.float64)
    centres = (centres_of(size[0], stride), centres_of(size[1], stride))
    _, maps = ScoreMapLayer(MapConfig(sigma=sigma), size, centres)(grid.float())
    for y, x in ((0, 0), (40, 51), (95, 159), (0, 120)):
        total = weight = 0.0
        # Relative to the nearest centre, as far from all of them every Gaussian vanishes in float64.
        nearest = min((y + 0.5 - cy) ** 2 for cy in rows) + min((x + 0.5 - cx) ** 2 for cx in columns)
        for i, cy in enumerate(rows):
            for j, cx in enumerate(columns):
                distance = (y + 0.5 - cy) ** 2 + (x + 0.5 - cx) ** 2 - nearest
                gain = np.exp(-distance / (2 * sigma**2))
                total += gain * float(grid[0, i, j])
                weight += gain
        assert float(maps[0, y, x]) == pytest.approx(total / weight, rel=1e-4)


def test_borders_are_not_attenuated():
    for sigma in (2, 10):
        score, maps = ScoreMapLayer(MapConfig(sigma=sigma), (256, 256), (centres_of(256),) * 2)(
            torch.full((1, 25, 25), 7.0)
        )
        torch.testing.assert_close(maps, torch.full((1, 256, 256), 7.0))
        torch.testing.assert_close(score, torch.tensor([7.0]))
    assert upsampling_matrix(256, centres_of(256).numpy(), 4).shape == (256, 25)


@pytest.mark.parametrize("stride", [4, 8])
def test_the_papers_upsampling_is_a_transposed_gaussian_convolution(stride):
    """CutPaste, A.5: a kernel of 32 pixels; every stride-th value of it falls on a pixel, whose sum is at most one."""
    size = 128
    centres = centres_of(size, stride)
    grid = torch.rand(1, len(centres), len(centres), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    _, maps = ScoreMapLayer(MapConfig(sigma=10, upsampling="paper"), (size, size), (centres, centres))(grid.float())
    at = torch.arange(32, dtype=torch.float64) - 15.5
    kernel = torch.exp(-at.square() / 200)
    kernel = kernel / max(kernel[phase::stride].sum() for phase in range(stride))
    grown = functional.conv_transpose2d(grid.unsqueeze(0), torch.outer(kernel, kernel).view(1, 1, 32, 32), None, stride)
    expected = torch.zeros(size, size, dtype=torch.float64)
    reach = grown.shape[2]
    expected[16 : 16 + reach, 16 : 16 + reach] = grown[0, 0]  # the kernel's middle is the window's, at pixel 32
    torch.testing.assert_close(maps[0].double(), expected, rtol=1e-4, atol=1e-6)


def test_the_papers_upsampling_loses_its_gain_towards_the_border_alone():
    score_map = ScoreMapLayer(MapConfig(sigma=10, upsampling="paper"), (256, 256), (centres_of(256),) * 2)
    _, maps = score_map(torch.ones(1, 25, 25))
    assert float(maps.amax()) == pytest.approx(1)
    assert float(maps[0, 64:192, 64:192].min()) > 0.95  # 8 pixels apart, kernels of 32 pixels ripple
    assert float(maps[0, 128, 32]) < 0.75  # at the centre of an outermost window, what would lie beyond it is missing
    assert float(maps[0, 0].max()) == 0


def test_the_image_score_is_the_maximum_or_the_mean_of_the_top():
    grid = torch.rand(3, 25, 25)
    score, maps = ScoreMapLayer(MapConfig(), (256, 256), (centres_of(256),) * 2)(grid)
    assert torch.equal(score, maps.flatten(1).max(1).values)
    top, maps = ScoreMapLayer(MapConfig(image_score="top", top_fraction=0.01), (256, 256), (centres_of(256),) * 2)(grid)
    highest = maps.flatten(1).sort(1, descending=True).values[:, :655]
    torch.testing.assert_close(top, highest.mean(1))


@settings(max_examples=15, deadline=None)
@given(
    fraction=st.floats(0.001, 0.25), size=st.sampled_from([(128, 128), (256, 256), (257, 257), (224, 288), (64, 512)])
)
def test_the_top_is_no_more_than_tensorrt_can_take(fraction, size):
    rows, columns = map(centres_of, size)
    score_map = ScoreMapLayer(MapConfig(image_score="top", top_fraction=fraction), size, (rows, columns))
    grid = torch.rand(1, len(rows), len(columns), generator=torch.Generator().manual_seed(size[1]))
    top, maps = score_map(grid)
    assert score_map.top <= 3840
    assert score_map.step == 1 or fraction * size[0] * size[1] > 3840
    highest = maps.flatten(1).sort(1, descending=True).values[:, : max(1, round(fraction * size[0] * size[1]))]
    torch.testing.assert_close(top, highest.mean(1), rtol=1e-2, atol=0)


def test_positions_may_lie_anywhere():
    """Layers that pad have positions near the border; the first and the last one there fill it."""
    centres = torch.tensor([4.0, 36.0, 68.0, 92.0], dtype=torch.float64)
    grid = torch.zeros(1, 4, 4)
    grid[0, 3, 0] = 5
    _, maps = ScoreMapLayer(MapConfig(sigma=2), (96, 96), (centres, centres))(grid)
    assert float(maps[0, 95, 0]) == pytest.approx(5)
    assert float(maps[0, 0, 0]) == pytest.approx(0, abs=1e-6)
    assert float(maps[0, 95, 95]) == pytest.approx(0, abs=1e-6)

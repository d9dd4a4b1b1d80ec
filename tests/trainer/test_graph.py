"""The modules that are exported: resizing, projection, smoothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.config import EncoderConfig, HeadConfig, InputConfig, MapConfig, TrainConfig
from trainer.encoders import DensePatchEncoder
from trainer.graph import FeatureExtractor, Preprocess, ScoreMap, projection_matrix, resize_matrix, upsampling_matrix

CONFIG = TrainConfig(
    input=InputConfig(size=96), encoder=EncoderConfig(width=4, dim=16), head=HeadConfig(dim=12, scope="shared")
)


@given(source=st.integers(1, 300), target=st.integers(1, 200))
def test_resizing_is_torchs_antialiased_linear(source, target):
    signal = torch.rand(1, 1, source, 4, generator=torch.Generator().manual_seed(source))
    expected = functional.interpolate(signal, (target, 4), mode="bilinear", antialias=True)
    found = resize_matrix(torch.arange(source).float(), target) @ signal[0, 0]
    torch.testing.assert_close(found, expected[0, 0], rtol=1e-4, atol=1e-4)


def test_nothing_to_resize_changes_no_bit():
    frames = torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8)
    images = Preprocess(96).resize(frames)
    assert torch.equal(images, frames.flip(3).permute(0, 3, 1, 2).float())


def test_values_are_between_minus_two_and_two():
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 70, 80, 3)
    low, high = Preprocess(64)(frames)
    assert low.unique().item() == -2
    assert high.max().item() == pytest.approx(2)


def test_the_projection_is_orthonormal_and_always_the_same():
    matrix = projection_matrix(40, 12)
    torch.testing.assert_close(matrix.T @ matrix, torch.eye(12), rtol=0, atol=1e-6)
    assert torch.equal(matrix, projection_matrix(40, 12))


def test_levelled_scales_vary_equally():
    torch.manual_seed(0)
    extractor = FeatureExtractor(DensePatchEncoder(8, 4, 16).eval(), CONFIG)
    images = torch.randint(0, 256, (4, 3, 96, 96), dtype=torch.uint8)
    extractor.level(images)
    with torch.inference_mode():
        raw = extractor.encoder((images.float() - 127.5) / 63.75)
        window, centre = raw[:, :16].std(), raw[:, 16:].std()
    # The rows of the projection carry the scale: their norm is that of the orthonormal matrix over the deviation.
    torch.testing.assert_close(
        extractor.projection[:16] * window, torch.block_diag(projection_matrix(16, 4), projection_matrix(8, 8))[:16]
    )
    torch.testing.assert_close(
        extractor.projection[16:] * centre, torch.block_diag(projection_matrix(16, 4), projection_matrix(8, 8))[16:]
    )


def test_a_window_has_the_features_of_its_place_in_the_frame():
    torch.manual_seed(0)
    extractor = FeatureExtractor(DensePatchEncoder(8, 4, 16).eval(), CONFIG)
    frame = torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8)
    with torch.inference_mode():
        dense = extractor(frame)
        for row in range(5):
            for column in range(5):
                window = frame[:, 8 * row : 8 * row + 64, 8 * column : 8 * column + 64]
                torch.testing.assert_close(
                    extractor.unresized(window)[0, 0, 0], dense[0, row, column], rtol=1e-5, atol=1e-6
                )


@settings(max_examples=15, deadline=None)
@given(sigma=st.floats(1, 30), stride=st.sampled_from([4, 8, 16]), seed=st.integers(0, 1000))
def test_smoothing_is_a_normalised_sum_of_gaussians(sigma, stride, seed):
    size = 96
    count = (size - 64) // stride + 1
    grid = torch.rand(1, count, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    _, maps = ScoreMap(MapConfig(sigma=sigma), size, stride)(grid.float())
    centres = [stride * i + 32 for i in range(count)]
    for y, x in ((0, 0), (40, 51), (95, 95), (0, 60)):
        total = weight = 0.0
        # Relative to the nearest centre, as far from all of them every Gaussian vanishes in float64.
        nearest = min((y + 0.5 - cy) ** 2 for cy in centres) + min((x + 0.5 - cx) ** 2 for cx in centres)
        for i, cy in enumerate(centres):
            for j, cx in enumerate(centres):
                distance = (y + 0.5 - cy) ** 2 + (x + 0.5 - cx) ** 2 - nearest
                gain = np.exp(-distance / (2 * sigma**2))
                total += gain * float(grid[0, i, j])
                weight += gain
        assert float(maps[0, y, x]) == pytest.approx(total / weight, rel=1e-4)


def test_borders_are_not_attenuated():
    for sigma in (2, 10):
        score, maps = ScoreMap(MapConfig(sigma=sigma), 256, 8)(torch.full((1, 25, 25), 7.0))
        torch.testing.assert_close(maps, torch.full((1, 256, 256), 7.0))
        torch.testing.assert_close(score, torch.tensor([7.0]))
    assert upsampling_matrix(256, 8, 4).shape == (256, 25)


def test_the_image_score_is_the_maximum_or_the_mean_of_the_top():
    grid = torch.rand(3, 25, 25)
    score, maps = ScoreMap(MapConfig(), 256, 8)(grid)
    assert torch.equal(score, maps.flatten(1).max(1).values)
    top, maps = ScoreMap(MapConfig(image_score="top", top_fraction=0.01), 256, 8)(grid)
    highest = maps.flatten(1).sort(1, descending=True).values[:, :655]
    torch.testing.assert_close(top, highest.mean(1))

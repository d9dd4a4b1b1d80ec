"""Resizing, and nothing but resizing."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from trainer.graph.preprocess import Preprocess, resize_matrix, to_rgb


@given(source=st.integers(1, 300), target=st.integers(1, 200))
def test_resizing_is_torchs_antialiased_linear(source, target):
    signal = torch.rand(1, 1, source, 4, generator=torch.Generator().manual_seed(source))
    expected = functional.interpolate(signal, (target, 4), mode="bilinear", antialias=True)
    found = resize_matrix(torch.arange(source).float(), target) @ signal[0, 0]
    torch.testing.assert_close(found, expected[0, 0], rtol=1e-4, atol=1e-4)


def test_a_frame_is_resized_along_both_axes_and_turned_to_rgb():
    frames = torch.randint(0, 256, (2, 70, 130, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    rgb = frames.flip(3).permute(0, 3, 1, 2).float()
    expected = functional.interpolate(rgb, (64, 96), mode="bilinear", antialias=True)
    torch.testing.assert_close(Preprocess((64, 96))(frames), expected, rtol=1e-4, atol=1e-3)


def test_a_frame_of_the_right_size_keeps_its_exact_values():
    frames = torch.randint(0, 256, (2, 96, 128, 3), dtype=torch.uint8)
    images = Preprocess((96, 128))(frames)
    assert torch.equal(images, frames.flip(3).permute(0, 3, 1, 2).float())
    assert torch.equal(Preprocess((96, 128))(frames.float()), images)


def test_values_stay_between_0_and_255():
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 70, 80, 3)
    low, high = Preprocess((64, 64))(frames)
    assert low.unique().item() == 0
    assert high.min().item() == pytest.approx(255)
    assert high.max().item() == pytest.approx(255)


def test_rgb_is_bgr_with_its_channels_reversed():
    images = torch.rand(2, 3, 4, 5)
    assert torch.equal(to_rgb(images), images.flip(1))
    assert torch.equal(to_rgb(to_rgb(images)), images)

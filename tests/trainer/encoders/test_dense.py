"""The dense encoder equals itself on every window."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from normalisation import unsettle

from trainer.encoders.dense import STRIDES, WINDOW, DensePatchEncoder


def make(stride, seed, width=4, dim=8):
    torch.manual_seed(seed)
    encoder = DensePatchEncoder(stride, width, dim)
    return unsettle(encoder)


@settings(max_examples=25, deadline=None)
@given(
    stride=st.sampled_from(STRIDES),
    height=st.integers(WINDOW, 150),
    width=st.integers(WINDOW, 150),
    seed=st.integers(0, 2**31),
)
def test_a_dense_feature_is_the_feature_of_its_window(stride, height, width, seed):
    encoder = make(stride, seed)
    frame = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        dense = encoder(frame)
        rows, columns = ((side - WINDOW) // stride + 1 for side in (height, width))
        assert (len(encoder.centres(height)), len(encoder.centres(width))) == (rows, columns)
        assert dense.shape == (1, 8 + 2 * 4, rows, columns)
        for row in range(rows):
            for column in range(columns):
                y, x = row * stride, column * stride
                window = encoder(frame[:, :, y : y + WINDOW, x : x + WINDOW])
                assert window.shape[2:] == (1, 1)
                torch.testing.assert_close(window[0, :, 0, 0], dense[0, :, row, column], rtol=1e-4, atol=1e-5)


@settings(max_examples=10, deadline=None)
@given(stride=st.sampled_from(STRIDES), side=st.integers(WINDOW, 120), seed=st.integers(0, 2**31))
def test_the_dense_pass_is_exact_where_sums_do_not_round(stride, side, seed):
    """With whole numbers in float64 no addition rounds, so the results are equal to the bit in any order."""
    generator = torch.Generator().manual_seed(seed)
    encoder = DensePatchEncoder(stride, 4, 8).double().eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data = torch.randint(-1, 2, module.weight.shape, generator=generator).double()
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    frame = torch.randint(0, 9, (1, 3, side, side), generator=generator).double()
    with torch.inference_mode():
        dense = encoder(frame)
        for row in range(dense.shape[2]):
            for column in range(dense.shape[3]):
                y, x = row * stride, column * stride
                window = encoder(frame[:, :, y : y + WINDOW, x : x + WINDOW])
                assert torch.equal(window[0, :, 0, 0], dense[0, :, row, column])


@given(seed=st.integers(0, 2**31))
@settings(max_examples=5, deadline=None)
def test_features_of_the_three_strides_agree_where_their_grids_meet(seed):
    """A finer grid holds the coarser one: position i of stride 8 is position 2 i of stride 4."""
    frame = torch.rand(1, 3, 160, 131, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        four, eight, sixteen = (make(stride, seed)(frame) for stride in STRIDES)
    torch.testing.assert_close(four[:, :, ::2, ::2][:, :, : eight.shape[2], : eight.shape[3]], eight)
    torch.testing.assert_close(eight[:, :, ::2, ::2][:, :, : sixteen.shape[2], : sixteen.shape[3]], sixteen)


def test_every_pixel_of_a_window_counts_and_no_other():
    encoder = make(8, 0)
    frame = torch.rand(1, 3, 96, 96, requires_grad=True)
    encoder(frame)[0, :, 2, 1].sum().backward()
    touched = frame.grad.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
    assert (rows.min(), rows.max()) == (16, 16 + WINDOW - 1)
    assert (columns.min(), columns.max()) == (8, 8 + WINDOW - 1)


def test_the_centre_features_see_the_central_32_pixels():
    encoder = make(8, 0)
    frame = torch.rand(1, 3, 96, 96, requires_grad=True)
    encoder(frame)[0, 8:, 2, 1].sum().backward()
    touched = frame.grad.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
    assert (rows.min(), rows.max()) == (16 + 16, 16 + 47)
    assert (columns.min(), columns.max()) == (8 + 16, 8 + 47)


def test_fusing_the_normalisation_changes_nothing():
    encoder = make(8, 3)
    frame = torch.rand(2, 3, 80, 100)
    with torch.inference_mode():
        before = encoder(frame)
        encoder.fuse()
        after = encoder(frame)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())


@given(stride=st.sampled_from(STRIDES), size=st.integers(WINDOW, 600))
def test_centres_are_the_middle_of_the_windows(stride, size):
    middles = [first + WINDOW / 2 for first in range(0, size - WINDOW + 1, stride)]
    assert DensePatchEncoder(stride, 4, 8).centres(size).tolist() == middles


def test_a_frame_smaller_than_a_window_is_refused():
    with pytest.raises(ValueError, match="63 pixels is smaller than one window of 64"):
        DensePatchEncoder(8, 4, 8).centres(63)


def test_normalised_values_are_between_minus_two_and_two():
    values = torch.tensor([0.0, 127.5, 255.0]).view(1, 1, 1, 3).expand(2, 3, 1, 3)
    normalised = DensePatchEncoder(8, 4, 8).normalise(values)
    assert torch.equal(normalised, torch.tensor([-2.0, 0.0, 2.0]).expand(2, 3, 1, 3))


def test_other_strides_are_refused():
    with pytest.raises(ValueError, match="stride must be one of"):
        DensePatchEncoder(12)

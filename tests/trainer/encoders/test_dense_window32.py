"""The dense encoder with windows of 32 pixels equals itself on every window."""

import numpy as np
import pytest
import torch
from discs import TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from normalisation import unsettle
from pydantic import ValidationError

from edge_occ.bundle.bundle import ENCODER_GRAPH, read_bundle
from engines.onnxruntime import EncoderRunner, OnnxRuntimeEngine
from trainer.config import EncoderConfig, TrainConfig
from trainer.encoders.build import make_encoder
from trainer.encoders.dense import NARROW_STRIDES, NARROW_WINDOW, DensePatchEncoder
from trainer.evaluation.evaluate import evaluate
from trainer.job import Job
from trainer.train import train


def make(stride, seed, width=4, dim=8):
    torch.manual_seed(seed)
    encoder = DensePatchEncoder(stride, width, dim, NARROW_WINDOW)
    return unsettle(encoder)


def all_windows(frame, stride):
    """Every window of a frame [1, 3, h, w], cut out one by one, and the rows and columns of their grid."""
    rows, columns = ((side - 32) // stride + 1 for side in frame.shape[2:])
    places = [(y, x) for y in range(0, rows * stride, stride) for x in range(0, columns * stride, stride)]
    return torch.cat([frame[:, :, y : y + 32, x : x + 32] for y, x in places]), rows, columns


@settings(max_examples=20, deadline=None)
@given(
    stride=st.sampled_from(NARROW_STRIDES),
    height=st.integers(32, 80),
    width=st.integers(32, 80),
    seed=st.integers(0, 2**31),
)
def test_a_dense_feature_is_the_feature_of_its_window(stride, height, width, seed):
    """In float64: sums in another order differ by little, and a pixel from outside the window by much."""
    encoder = make(stride, seed).double()
    frame = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)).double()
    windows, rows, columns = all_windows(frame, stride)
    with torch.inference_mode():
        dense, single = encoder(frame), encoder(windows)
    assert dense.shape == (1, 8, rows, columns)
    assert single.shape == (rows * columns, 8, 1, 1)
    torch.testing.assert_close(dense[0].flatten(1).T, single[:, :, 0, 0], rtol=1e-12, atol=1e-12)
    assert len(encoder.centres(height)) == rows


@settings(max_examples=10, deadline=None)
@given(stride=st.sampled_from(NARROW_STRIDES), side=st.integers(32, 70), seed=st.integers(0, 2**31))
def test_the_dense_pass_is_exact_where_sums_do_not_round(stride, side, seed):
    """With whole numbers in float64 no addition rounds, so the results are equal to the bit in any order."""
    generator = torch.Generator().manual_seed(seed)
    encoder = DensePatchEncoder(stride, 4, 8, 32).double().eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data = torch.randint(-1, 2, module.weight.shape, generator=generator).double()
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eps = 0.0
    frame = torch.randint(0, 9, (1, 3, side, side), generator=generator).double()
    windows, _, _ = all_windows(frame, stride)
    with torch.inference_mode():
        assert torch.equal(encoder(frame)[0].flatten(1).T, encoder(windows)[:, :, 0, 0])


def test_the_grid_is_the_papers():
    four, eight = make(4, 0, dim=512), make(8, 0, dim=512)
    frame = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fine, coarse = four(frame), eight(frame)
    assert fine.shape == (1, 512, 57, 57)  # CutPaste, A.5
    assert torch.equal(four.centres(256), 16 + 4 * torch.arange(57))
    assert torch.equal(eight.centres(256), 16 + 8 * torch.arange(29))
    torch.testing.assert_close(fine[:, :, ::2, ::2], coarse)


def test_every_pixel_of_a_window_counts_and_no_other():
    encoder = make(4, 0)
    frame = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    encoder(frame)[0, :, 5, 2].sum().backward()
    touched = frame.grad.abs().sum((0, 1)) > 0
    rows, columns = touched.any(1).nonzero(), touched.any(0).nonzero()
    assert (rows.min(), rows.max()) == (20, 51)
    assert (columns.min(), columns.max()) == (8, 39)


def test_the_narrow_network_is_the_beginning_of_the_wide_one():
    torch.manual_seed(0)
    wide = DensePatchEncoder(8, 4, 16).state_dict()
    torch.manual_seed(0)
    narrow = DensePatchEncoder(4, 4, 16, 32).state_dict()
    trunk = [name for name in wide if name.startswith(("stem", "block1"))]
    assert trunk == [name for name in narrow if not name.startswith("head")]
    assert all(torch.equal(wide[name], narrow[name]) for name in trunk)


def test_fusing_the_normalisation_changes_nothing():
    encoder = make(8, 3)
    frame = torch.rand(2, 3, 80, 100, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = encoder(frame)
        encoder.fuse()
        torch.testing.assert_close(before, encoder(frame), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())


def test_the_settings_choose_window_and_stride():
    encoder = make_encoder(EncoderConfig(window=32, stride=4, width=4, dim=16), (64, 64))
    assert (encoder.window, encoder.stride, encoder.scales) == (32, 4, (16,))
    assert make_encoder(EncoderConfig(width=4, dim=16), (64, 64)).window == 64


def test_windows_and_strides_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="window must be 64 or 32, not 48"):
        DensePatchEncoder(8, 4, 16, 48)
    with pytest.raises(ValueError, match=r"stride must be one of \(4, 8\), not 16"):
        DensePatchEncoder(16, 4, 16, 32)
    with pytest.raises(ValidationError, match=r"encoder\.window=32 goes with"):
        EncoderConfig(window=32, stride=16)
    with pytest.raises(ValueError, match="smaller than one window of 32"):
        make(4, 0).centres(31)


def test_an_encoder_trained_on_larger_crops_makes_a_bundle(tiny_data, tmp_path):
    config = {
        **TINY,
        "encoder": {**TINY["encoder"], "window": 32, "stride": 4},
        "pretext": {"mode": "crops", "area": (0.02, 0.15)},
        "export": {"fp16": False, "int8": False},
    }
    out = tmp_path / "narrow.occ"
    train(Job(tiny_data, out, TrainConfig.model_validate(config), "tiny", 0, "cpu", "edge-occ train"))
    bundle = read_bundle(out)
    geometry = bundle.manifest.geometry
    assert (geometry.window, geometry.stride, geometry.grid, geometry.exact) == (32, 4, (17, 17), True)
    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    dense = OnnxRuntimeEngine(bundle.graph()).features(frame)[0]
    windows = np.stack([frame[y : y + 32, x : x + 32] for y in range(0, 65, 4) for x in range(0, 65, 4)])
    single = EncoderRunner(bundle.members[ENCODER_GRAPH]).features(windows)
    np.testing.assert_allclose(dense.reshape(single.shape), single, rtol=1e-4, atol=1e-4)
    faulted = {"good": 0, "defect": 0}
    images = {"good": 6, "defect": 7, "faulted": faulted, "with_mask": 7, "skipped": []}
    assert evaluate(out, tiny_data).as_json()["images"] == images

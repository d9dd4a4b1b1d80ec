"""GradCAM in closed form against automatic differentiation."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.config import HeadConfig, HeadKind
from trainer.encoders.resnet import ResNet18Encoder
from trainer.heads.build import fit_head
from trainer.heads.cam import grad_cam, l2_normalise, l2_pullback, peak_at
from trainer.heads.gaussian import GaussianHead

KINDS = get_args(HeadKind)


def head(kind, channels, dim, seed, dtype=torch.float64):
    """A projection, and a head that was fitted to random features behind it."""
    generator = torch.Generator().manual_seed(seed)
    projection = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=dtype))[0][:, :dim]
    features = torch.randn(20, 1, 1, channels, generator=generator, dtype=dtype).abs() @ projection
    fitted = fit_head(features, HeadConfig(kind=kind, scope=("shared",)))
    return projection, replace(fitted, **{name: tensor.to(dtype) for name, tensor in fitted.tensors().items()})


def by_autograd(feature_map, projection, head, normalise):
    """GradCAM by automatic differentiation (Selvaraju et al., 2017, equations 1 and 2), less its mean.

    The image-level score is computed as it is defined, one image at a time.
    """
    feature_map = feature_map.detach().requires_grad_()
    scores = []
    for one in feature_map:
        pooled = one.flatten(1).mean(1)
        if normalise:
            pooled = functional.normalize(pooled, dim=0)
        scores.append(head.score((pooled @ projection).view(1, 1, 1, -1)))
    (gradient,) = torch.autograd.grad(torch.cat(scores).sum(), feature_map)
    assert torch.allclose(gradient, gradient[:, :, :1, :1].expand_as(gradient))  # pooling is a mean
    plain = (gradient.mean((2, 3), keepdim=True) * feature_map).sum(1).detach()
    return plain, (plain - plain.mean((1, 2), keepdim=True)).relu()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 3), st.integers(3, 12), st.integers(1, 5), st.integers(1, 5)),
    normalise=st.booleans(),
    data=st.data(),
)
def test_the_closed_form_is_grad_cam(kind, seed, shape, normalise, data):
    dim = data.draw(st.integers(2, shape[1]))
    feature_map = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    of_head = *head(kind, shape[1], dim, seed), normalise
    plain, expected = by_autograd(feature_map, *of_head)
    torch.testing.assert_close(grad_cam(feature_map, *of_head), expected, rtol=1e-5, atol=1e-8)
    if normalise or kind in ("kde", "ocsvm", "nearest"):  # length does not count: there is no mean to take off
        torch.testing.assert_close(plain.relu(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("normalise", "dim"), [(False, 100), (True, 512)])
def test_the_map_equals_grad_cam_of_a_real_feature_map(kind, normalise, dim, feature_map):
    of_head = *head(kind, 512, dim, 1), normalise
    found = grad_cam(feature_map, *of_head)
    torch.testing.assert_close(found, by_autograd(feature_map, *of_head)[1])
    assert found.shape == (2, 2, 3)
    assert (found.amax((1, 2)) > 0).all()
    single = replace(of_head[1], **{name: tensor.float() for name, tensor in of_head[1].tensors().items()})
    in_fp32 = grad_cam(feature_map.float(), of_head[0].float(), single, normalise)
    torch.testing.assert_close(in_fp32.double(), found, rtol=1e-3, atol=1e-4 * float(found.max()))


@pytest.fixture(scope="module")
def feature_map():
    torch.manual_seed(0)
    encoder = ResNet18Encoder().double().train()
    with torch.no_grad():
        return encoder(torch.rand(2, 3, 64, 96, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_lacks_something_has_a_map_too(kind):
    """ReLU features that are lower in one place than those of good parts; a plain GradCAM may be empty."""
    generator = torch.Generator().manual_seed(0)
    good = 1 + 0.1 * torch.rand(30, 16, 4, 4, generator=generator)
    features = good.mean((2, 3))[:, None, None]
    fitted = fit_head(features, HeadConfig(kind=kind, scope=("shared",), dim=16))
    lacking = good[:1].clone()
    lacking[0, :8, 1, 2] = 0
    found = grad_cam(lacking, torch.eye(16), fitted, False)
    assert int(found.argmax()) == 1 * 4 + 2


def test_the_map_is_highest_at_the_position_that_deviates():
    generator = torch.Generator().manual_seed(0)
    feature_map = 1 + 0.01 * torch.rand(3, 16, 6, 6, generator=generator)
    usual = feature_map.mean((0, 2, 3)).view(1, 1, 16)
    for image, (row, column) in enumerate([(0, 0), (2, 5), (4, 1)]):
        feature_map[image, image, row, column] += 5
    maps = grad_cam(feature_map, torch.eye(16), GaussianHead(usual, torch.eye(16).view(1, 1, 16, 16)), False)
    assert maps.flatten(1).argmax(1).tolist() == [0, 2 * 6 + 5, 4 * 6 + 1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalise", [False, True])
def test_nothing_deviates_nowhere(kind, normalise):
    zero = torch.zeros(1, 8, 3, 3)
    projection, fitted = head(kind, 8, 4, 0, torch.float32)
    assert grad_cam(zero, projection, fitted, normalise).tolist() == torch.zeros(1, 3, 3).tolist()


def test_l2_normalisation_and_its_gradient():
    features = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(l2_normalise(features), functional.normalize(features, dim=-1))
    gradient = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected,) = torch.autograd.grad(functional.normalize(features, dim=-1), features, gradient)
    torch.testing.assert_close(l2_pullback(features, gradient), expected)
    assert l2_normalise(torch.zeros(2, 5)).tolist() == torch.zeros(2, 5).tolist()


def test_the_highest_value_becomes_the_score():
    maps = torch.tensor([[[1.0, 2.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert peak_at(maps, torch.tensor([8.0, 5.0])).tolist() == [[[2.0, 4.0], [0.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]]

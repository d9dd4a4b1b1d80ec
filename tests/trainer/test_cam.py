"""GradCAM in closed form against automatic differentiation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trainer.cam import gaussian_cam, l2_normalise, l2_pullback, peak_at
from trainer.encoders.resnet import ResNet18Encoder


def head(channels, dim, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    projection = torch.linalg.qr(torch.randn(channels, channels, generator=generator, dtype=dtype))[0][:, :dim]
    mean = torch.randn(1, 1, dim, generator=generator, dtype=dtype)
    whitening = torch.randn(1, 1, dim, dim, generator=generator, dtype=dtype).tril()
    return projection, mean, whitening


def image_score(feature_map, projection, mean, whitening, normalise):
    """The image-level score as it is defined (CutPaste, equation 2), one image at a time."""
    scores = []
    for one in feature_map:
        pooled = one.flatten(1).mean(1)
        if normalise:
            pooled = functional.normalize(pooled, dim=0)
        whitened = whitening[0, 0] @ (projection.T @ pooled - mean[0, 0])
        scores.append(whitened @ whitened)
    return torch.stack(scores)


def grad_cam(feature_map, *of_head):
    """GradCAM by automatic differentiation (Selvaraju et al., 2017, equations 1 and 2)."""
    feature_map = feature_map.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(image_score(feature_map, *of_head).sum(), feature_map)
    assert torch.allclose(gradient, gradient[:, :, :1, :1].expand_as(gradient))  # pooling is a mean
    return (gradient.mean((2, 3), keepdim=True) * feature_map).sum(1).relu().detach()


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.tuples(st.integers(1, 3), st.integers(2, 12), st.integers(1, 5), st.integers(1, 5)),
    normalise=st.booleans(),
    data=st.data(),
)
def test_the_closed_form_is_grad_cam(seed, shape, normalise, data):
    dim = data.draw(st.integers(1, shape[1]))
    feature_map = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    of_head = *head(shape[1], dim, seed), normalise
    torch.testing.assert_close(gaussian_cam(feature_map, *of_head), grad_cam(feature_map, *of_head))


@pytest.mark.parametrize(("normalise", "dim"), [(False, 100), (True, 512)])
def test_it_is_grad_cam_of_a_real_feature_map(normalise, dim):
    torch.manual_seed(0)
    encoder = ResNet18Encoder().double().train()
    with torch.no_grad():
        feature_map = encoder(torch.rand(2, 3, 64, 96, dtype=torch.float64))
    of_head = *head(512, dim, 1), normalise
    found = gaussian_cam(feature_map, *of_head)
    torch.testing.assert_close(found, grad_cam(feature_map, *of_head))
    assert found.shape == (2, 2, 3)
    assert found.max() > 0
    single = gaussian_cam(feature_map.float(), *(part.float() for part in of_head[:3]), normalise)
    torch.testing.assert_close(single.double(), found, rtol=1e-3, atol=1e-4 * float(found.max()))


def test_it_points_at_the_position_that_deviates():
    generator = torch.Generator().manual_seed(0)
    feature_map = 1 + 0.01 * torch.rand(3, 16, 6, 6, generator=generator)
    usual = feature_map.mean((0, 2, 3)).view(1, 1, 16)
    for image, (row, column) in enumerate([(0, 0), (2, 5), (4, 1)]):
        feature_map[image, image, row, column] += 5
    maps = gaussian_cam(feature_map, torch.eye(16), usual, torch.eye(16).view(1, 1, 16, 16), False)
    assert maps.flatten(1).argmax(1).tolist() == [0, 2 * 6 + 5, 4 * 6 + 1]


@pytest.mark.parametrize("normalise", [False, True])
def test_nothing_deviates_nowhere(normalise):
    zero = torch.zeros(1, 8, 3, 3)
    projection, mean, whitening = head(8, 4, 0, torch.float32)
    assert gaussian_cam(zero, projection, mean, whitening, normalise).tolist() == torch.zeros(1, 3, 3).tolist()


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

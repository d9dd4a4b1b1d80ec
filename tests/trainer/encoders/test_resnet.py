"""ResNet-18 against the network written out by the names of its parameters."""

import pytest
import torch
from normalisation import unsettle
from torch.nn import functional

from trainer.encoders.resnet import ResNet18Encoder


def make(seed=0, **options):
    torch.manual_seed(seed)
    encoder = ResNet18Encoder(**options)
    return unsettle(encoder, 0.2)


def torchvision_names():
    """Parameters and statistics of torchvision's ``resnet18`` without ``fc``, in its order."""

    def norm(name):
        return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")]

    names = ["conv1.weight", *norm("bn1")]
    for layer in range(1, 5):
        for block in range(2):
            at = f"layer{layer}.{block}"
            names += [f"{at}.conv1.weight", *norm(f"{at}.bn1"), f"{at}.conv2.weight", *norm(f"{at}.bn2")]
            if layer > 1 and block == 0:
                names += [f"{at}.downsample.0.weight", *norm(f"{at}.downsample.1")]
    return names


def naive(weights, x, small):
    """The forward pass of ResNet-18 (He et al., 2016, table 1) from a dictionary of torchvision's names."""

    def norm(y, name):
        mean, variance = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale = weights[f"{name}.weight"] / (variance + 1e-5).sqrt()
        return (y - mean.view(-1, 1, 1)) * scale.view(-1, 1, 1) + weights[f"{name}.bias"].view(-1, 1, 1)

    if small:
        x = norm(functional.conv2d(x, weights["conv1.weight"], padding=1), "bn1").relu()
    else:
        x = norm(functional.conv2d(x, weights["conv1.weight"], stride=2, padding=3), "bn1").relu()
        x = functional.pad(x, (1, 1, 1, 1), value=float("-inf")).unfold(2, 3, 2).unfold(3, 3, 2).amax((4, 5))
    for layer in range(1, 5):
        for block in range(2):
            at, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = functional.conv2d(x, weights[f"{at}.conv1.weight"], stride=stride, padding=1)
            y = functional.conv2d(norm(y, f"{at}.bn1").relu(), weights[f"{at}.conv2.weight"], padding=1)
            if stride == 2:
                x = norm(functional.conv2d(x, weights[f"{at}.downsample.0.weight"], stride=2), f"{at}.downsample.1")
            x = (norm(y, f"{at}.bn2") + x).relu()
    return x


@pytest.mark.parametrize("small", [False, True])
def test_names_and_features_are_torchvisions(small):
    encoder = make(small=small).double()
    state = encoder.state_dict()
    assert list(state) == torchvision_names()
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        features = encoder(image)
        torch.testing.assert_close(features, naive(state, image, small))
    assert features.shape == ((1, 512, 4, 8) if small else (1, 512, 1, 2))


def test_the_network_has_as_many_parameters_as_torchvisions():
    # 11,689,512 of resnet18, less 512 x 1000 + 1000 of its classifier.
    assert sum(parameter.numel() for parameter in ResNet18Encoder().parameters()) == 11_689_512 - 513_000


@pytest.mark.parametrize("small", [False, True])
def test_a_narrow_one_is_the_same_network_with_fewer_channels(small):
    encoder = make(small=small, base_width=16).double()
    assert encoder.scales == (128,)
    state, wide = encoder.state_dict(), make(small=small).state_dict()
    assert list(state) == list(wide)
    for name, value in state.items():
        expected = [size // 4 if size > 7 else size for size in wide[name].shape]  # all but the kernels and the colours
        assert list(value.shape) == expected, name
    image = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(image), naive(state, image, small))


def test_initial_weights_are_he_weights_of_the_fan_out():
    torch.manual_seed(0)
    encoder = ResNet18Encoder()
    kinds = [type(module) for module in encoder.modules()]
    assert (kinds.count(torch.nn.Conv2d), kinds.count(torch.nn.BatchNorm2d)) == (20, 20)
    for name, module in encoder.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            assert float(module.weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.momentum, module.eps) == (0.1, 1e-5)


def test_from_scratch_sees_0_to_1_and_pretrained_imagenets_statistics():
    images = torch.tensor([0.0, 128.0, 255.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(ResNet18Encoder().normalise(images), images / 255)
    expected = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    found = ResNet18Encoder(pretrained=True).normalise(images)
    torch.testing.assert_close(found, torch.tensor(expected).view(1, 3, 1, 1))


@pytest.mark.parametrize(("small", "height", "field"), [(True, 160, 109), (False, 512, 435)])
def test_a_position_is_centred_where_its_field_of_view_is(small, height, field):
    encoder = make(small=small)
    image = torch.rand(1, 3, height, 32, requires_grad=True)
    features = encoder(image)
    row = features.shape[2] // 2
    features[0, :, row, 0].sum().backward()
    touched = (image.grad.abs().sum((0, 1, 3)) > 0).nonzero()
    assert touched.max() + 1 - touched.min() == field
    assert (touched.max() + 1 + touched.min()) / 2 == encoder.centres(height)[row]


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("size", [32, 33, 64, 95, 97])
def test_there_is_a_centre_for_every_position(small, size):
    encoder = make(small=small)
    with torch.inference_mode():
        assert encoder(torch.rand(1, 3, size, size)).shape[2] == len(encoder.centres(size))


def test_an_image_smaller_than_the_stride_is_refused():
    with pytest.raises(ValueError, match="31 pixels is smaller"):
        ResNet18Encoder().centres(31)


@pytest.mark.parametrize("small", [False, True])
def test_fusing_the_normalisation_changes_nothing(small):
    encoder = make(3, small=small)
    image = torch.rand(2, 3, 40, 40)
    with torch.inference_mode():
        before = encoder(image)
        encoder.fuse()
        after = encoder(image)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())

